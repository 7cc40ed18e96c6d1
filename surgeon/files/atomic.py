"""Writing files so that the target is the old file or the new one, whole, whenever the power goes."""

import ctypes
import errno
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from surgeon.errors import BadFile, SurgeonError

try:
    import fcntl
except ImportError:  # there are no such locks on Windows
    fcntl = None

AT_FDCWD = -100
RENAME_EXCHANGE = 2
SWEPT_AFTER = 60


@contextmanager
def replacing(target, *, force=False):
    """A path beside `target` to write a file or a folder to; it takes the target's place when the block ends well.

    A block that fails leaves nothing behind; a process that is killed leaves at most a hidden
    `.NAME.*.part` beside the target, never half a target. The next writer of the target sweeps it up.

    Raises:
        BadFile: the target exists and `force` is False, its folder does not, or it can't be written.
    """
    target = Path(target).resolve()
    refuse_target(target, force)
    _sweep(target)
    # A folder of its own: libraries that write several files, or insist on an ending, get what they need.
    try:
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise BadFile(f"can't write {target}: {error.strerror}.") from None
    lock = _lock(room)
    try:
        yield room / target.name
        _sync(room / target.name)
        _swap(room / target.name, target)
        _sync_folder(target.parent)
    except SurgeonError:
        raise
    except Exception as error:
        # Rust and C++ writers report a full disk in words of their own.
        if isinstance(error, OSError) or _is_full(error, room):
            reason = "the disk is full" if _is_full(error, room) else error.strerror or str(error)
            raise BadFile(f"can't write {target}: {reason}. What was there before is untouched.") from error
        raise
    finally:
        shutil.rmtree(room, ignore_errors=True)
        _unlock(lock)


def _lock(room):
    """A lock on a folder, which the system lets go of when its holder dies; None where somebody holds it, or the disk knows no locks."""
    if fcntl is None:
        return None
    handle = os.open(room, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(lock):
    if lock is not None:
        os.close(lock)


def _sweep(target):
    """Remove what killed writers of `target` have left beside it."""
    for room in target.parent.glob(f".{escape(target.name)}.*.part"):
        try:
            # A writer that has made its folder a moment ago may not hold the lock yet.
            lock = _lock(room) if time.time() - room.stat().st_mtime > SWEPT_AFTER else None
        except OSError:
            continue
        if lock is not None:
            shutil.rmtree(room, ignore_errors=True)
            _unlock(lock)


def _is_full(error, room):
    """Whether a failure to write means a full disk: told by number, in words, or by the little that is left."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error) or shutil.disk_usage(room).free < 1 << 20


def refuse_target(target, force):
    """Refuse a target that exists, unless `force`, or whose folder does not."""
    target = Path(target)
    if not target.parent.is_dir():
        raise BadFile(f"can't write {target}: there is no folder {target.parent}.")
    if target.exists() and not force:
        raise BadFile(f"{target} exists. --force (or force=True) replaces it.")


def _sync(path):
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle)


def _swap(new, target):
    """One rename; where a folder is in the way, which no rename replaces, the two change places in one step."""
    # mkdtemp's and safetensors' files are for the owner alone; an ordinary file follows the umask.
    new.chmod((0o777 if new.is_dir() else 0o666) & ~_umask())
    if target.exists() and (target.is_dir() or new.is_dir()):
        _exchange(new, target)
    else:
        os.replace(new, target)


def _exchange(one, other):
    """Linux changes two names in one step; elsewhere there is a moment without the old one."""
    libc = ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    if swap is None or swap(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        aside = one.with_name(f"{one.name}.old")
        other.rename(aside)
        one.rename(other)


def _umask():
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
