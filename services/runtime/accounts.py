"""Accounts: `TENANT/TEAM/...`, a tree."""


def within(account: str, root: str) -> bool:
    """Whether it is `root`, or below it."""
    return account == root or account.startswith(f"{root}/")
