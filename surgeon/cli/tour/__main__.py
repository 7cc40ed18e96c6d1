"""The two stops of the tour that are no command of surgeon's own: `python -m surgeon.cli.tour accuracy` and `tune`."""

import sys
from collections.abc import Sequence

import surgeon
from surgeon.cli.tour.tuning import tune
from surgeon.errors import BadOption, SurgeonError
from surgeon.files.intake import open_source
from surgeon.samples.training import accuracy

USAGE = "write python -m surgeon.cli.tour accuracy SOURCE, or python -m surgeon.cli.tour tune FILE OUTPUT."


def main(arguments: Sequence[str]) -> None:
    """Measure a network on the test part of the digits, or train the attention in a file on their training part."""
    match arguments:
        case ["accuracy", source]:
            print(f"accuracy {accuracy(open_source(source).model, *surgeon.samples.digits('test')):.3f}")
        case ["tune", file, output]:
            surgeon.save(tune(surgeon.load(file)), output)
        case _:
            raise BadOption(USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SurgeonError as error:
        sys.exit(f"surgeon: {error}")
