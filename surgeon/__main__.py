"""`python -m surgeon`: the command, wherever its script is not on the path (torchrun -m surgeon run train.py ...)."""

from surgeon.cli import main

if __name__ == "__main__":
    main()
