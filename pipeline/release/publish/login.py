"""Is anybody logged in to the Hugging Face Hub? Asked first, and without the network; whether the token is valid is the
Hub's answer."""

from pipeline.errors import UsageError

HUB = "hf://"
DATASETS = "hf://datasets/"


def require_login(target: str) -> None:
    """Check that there is a token for a push to the Hub; it is neither read nor shown here.

    Raises: UsageError: there is none.
    """
    if not target.startswith(DATASETS):
        return
    try:
        from huggingface_hub import get_token
    except ImportError as error:
        raise UsageError(f"the Hub's client can't be imported ({error}): pip install huggingface_hub") from error
    if not get_token():
        raise UsageError(
            f"{target}: nobody is logged in to the Hub. Log in with hf auth login, or set HF_TOKEN, with a token that "
            "may write; then run the same command again"
        )
