"""Keys for tests of signatures, made by ssh-keygen as users make them."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    private: Path

    @property
    def public(self):
        return self.private.with_name(f"{self.private.name}.pub")

    @property
    def text(self):
        """The public key as one line: kind, key, comment."""
        return self.public.read_text().strip()


def make_key(folder, name="key", *, kind="ed25519", passphrase=""):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH is not installed (make browser)")
    private = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", f"{name} of a test", "-f", private], check=True
    )
    return Key(private=private)


def verified_by_plain_tool(signed, key, name="somebody"):
    """What a stranger does, who has the file, the signature beside it, and the public key. Is the signature good?"""
    allowed = Path(f"{key.public}.allowed")
    allowed.write_text(f"{name} {key.text}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", name, "-n", "file", "-s", f"{signed}.sig"]
    return subprocess.run(command, input=signed.read_bytes(), capture_output=True, check=False).returncode == 0
