"""Writing files so that the target is the old file or the new one, whole, whenever the power goes."""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from surgeon.errors import BadFile, SurgeonError

# Windows has no such locks, and opens no folder.
if sys.platform != "win32":
    import fcntl

AT_FDCWD = -100
RENAME_EXCHANGE = 2
# Seconds after which a folder that nobody has locked was left by a killed writer.
ABANDONED_AFTER = 60
# With fewer bytes than this left, a disk counts as full.
NEARLY_FULL = 1 << 20


@contextmanager
def replacing(target: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """A path beside `target` to write a file or a folder to; it takes the target's place when the block ends well.

    A block that fails leaves nothing behind; a process that is killed leaves at most a hidden
    `.NAME.*.part` beside the target, never half a target. The next writer of the target sweeps it up.

    Raises:
        BadFile: the target exists and `force` is False, its folder does not, or it can't be written.
    """
    target = Path(target).resolve()
    refuse_target(target, force)
    _sweep(target)
    workspace = _new_workspace(target)
    lock = _lock(workspace)
    try:
        yield workspace / target.name
        _sync(workspace / target.name)
        _swap(workspace / target.name, target)
        _sync_folder(target.parent)
    except SurgeonError:
        raise
    except Exception as error:
        reason = _reason(error, workspace)
        if reason is None:
            raise
        raise BadFile(f"can't write {target}: {reason}. What was there before is untouched.") from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
        _unlock(lock)


def refuse_target(target: str | os.PathLike[str], force: bool) -> None:
    """Refuse a target that exists, unless `force`, or whose folder does not."""
    target = Path(target)
    if not target.parent.is_dir():
        raise BadFile(f"can't write {target}: there is no folder {target.parent}.")
    if target.exists() and not force:
        raise BadFile(f"{target} exists. --force (or force=True) replaces it.")


def _new_workspace(target: Path) -> Path:
    """A hidden folder beside `target`, in which libraries may write several files, with the endings that they want."""
    try:
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise BadFile(f"can't write {target}: {error.strerror}.") from None


def _lock(folder: Path) -> int | None:
    """A lock on a folder, which the system releases when its holder dies.

    None where somebody else holds it, or the disk knows no locks.
    """
    if sys.platform == "win32":
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _sweep(target: Path) -> None:
    """Remove what killed writers of `target` have left beside it."""
    for workspace in target.parent.glob(f".{escape(target.name)}.*.part"):
        try:
            # A writer that has just made its folder may not hold the lock yet.
            lock = _lock(workspace) if time.time() - workspace.stat().st_mtime > ABANDONED_AFTER else None
        except OSError:
            continue
        if lock is not None:
            shutil.rmtree(workspace, ignore_errors=True)
            _unlock(lock)


def _reason(error: Exception, folder: Path) -> str | None:
    """Why the disk did not take what was written to `folder`; None where the disk is not to blame."""
    if _is_full(error, folder):
        return "the disk is full"
    return error.strerror or str(error) if isinstance(error, OSError) else None


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether a failure to write means a full disk.

    Writers in Rust and C++ report it in words of their own, or in none: then the little space that is left tells.
    """
    is_reported = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    return is_reported or shutil.disk_usage(folder).free < NEARLY_FULL


def _sync(path: Path) -> None:
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            # Windows syncs what was opened for writing alone.
            with open(file, "r+b") as handle:
                os.fsync(handle)


def _swap(new: Path, target: Path) -> None:
    """One rename; where a folder is in the way, which no rename replaces, the two change places in one step."""
    # mkdtemp's and safetensors' files are for the owner alone; an ordinary file follows the umask.
    new.chmod((0o777 if new.is_dir() else 0o666) & ~_umask())
    if target.exists() and (target.is_dir() or new.is_dir()):
        _exchange(new, target)
    else:
        os.replace(new, target)


def _exchange(new: Path, target: Path) -> None:
    """Linux swaps two names in one step; elsewhere there is a moment without the old one."""
    libc = None if sys.platform == "win32" else ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    if swap is None or swap(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(target), RENAME_EXCHANGE):
        target.rename(new.with_name(f"{new.name}.old"))
        new.rename(target)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
