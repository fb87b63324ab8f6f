"""The command `unweave`; several processes start it by `torchrun -m unweave`."""

import sys

from .extras import MissingExtra


def main() -> None:
    """Run the command, or say what brings the packages that it needs."""
    try:
        from .cli import main as command
    except MissingExtra as error:
        sys.exit(f"Error: {error}")
    command()


if __name__ == "__main__":
    main()
