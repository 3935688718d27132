"""What Terraform starts."""

from tf import runner

from strongroom_terraform.provider import StrongroomProvider


def main() -> None:
    """Serve until Terraform ends it."""
    runner.run_provider(StrongroomProvider())


if __name__ == "__main__":
    main()
