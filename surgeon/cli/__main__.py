"""`python -m surgeon.cli`: the command, where its script is not on the path or torchrun wants a module."""

from surgeon.cli import main

if __name__ == "__main__":
    main()
