"""Signatures beside the files that they sign; OpenSSH's `ssh-keygen` makes and checks them.

RELEASE/release.json.sig          signs `release.json`, which has the sums of all other files of the release
RELEASE/annex/1/annex.json.sig    signs `annex.json`, which has the sums of the annex's files and names the release

A signature is a text of about 300 bytes. `ssh-keygen -Y verify` checks it, so a stranger needs nothing of this project.
Private keys are read by `ssh-keygen` alone.

Source: PROTOCOL.sshsig and ssh-keygen(1) of OpenSSH 8.2 and later.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StorageError, StorageUnavailableError, UsageError
from pipeline.files import storage, urls

SIGNATURE = ".sig"
"""What the name of a signature has after the name of the file that it signs."""
NAMESPACE = "file"
"""What the signatures are for, in OpenSSH's words; a signature of an email, for example, is of no use here."""
MOST_BYTES = 64 << 10
"""No signature, and no file of public keys, is larger."""
_TOOL, _SIGNER, _TIMEOUT_S = "ssh-keygen", "signer", 60
_KEY_TYPE = re.compile(r"(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+")
_FOUND_KEY = re.compile(r"\bwith (\S+ key SHA256:\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Public keys of those whose signatures count."""

    place: str
    """Path or URL that they were read from."""
    allowed: bytes
    """One line for each key, as `ssh-keygen` wants them: see ALLOWED SIGNERS in ssh-keygen(1)."""


def read_signers(place: str) -> Signers:
    """Read the keys of those whose signatures count.

    Args:   place: path or URL of a public key, as in `~/.ssh/id_ed25519.pub`, or of a file of allowed signers.
    Raises: UsageError: there is no such file, it is neither, or there is no `ssh-keygen`.
            StorageUnavailableError: it can't be read now.
    """
    require_tool()
    if not storage.is_file(place):
        raise UsageError(f"--signer {place} is not a file: give a public key (KEY.pub) or a file of allowed signers")
    try:
        text = storage.read(place, MOST_BYTES).decode()
    except StorageUnavailableError:
        raise
    except (StorageError, UnicodeDecodeError) as error:
        raise UsageError(f"--signer {place} holds no public keys ({error})") from error
    if "PRIVATE KEY" in text:
        raise UsageError(f"--signer {place} is a private key: give the public one, KEY.pub, and keep this one secret")
    if text.startswith("----"):
        raise UsageError(
            f"--signer {place} is a key in another format than OpenSSH's. Convert it with: ssh-keygen -i -m PKCS8 -f "
            f"{place} (or -m RFC4716), and give what that prints, as a file"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    for line in lines:
        if not any(_KEY_TYPE.fullmatch(word) for word in line.split()[:-1]):
            raise UsageError(f"--signer {place} holds no public keys: it has the line {line[:60]!r}")
    if not lines:
        raise UsageError(f"--signer {place} holds no public keys: it is empty")
    allowed = [f"{_SIGNER} {line}" if _KEY_TYPE.fullmatch(line.split()[0]) else line for line in lines]
    return Signers(place=place, allowed="".join(f"{line}\n" for line in allowed).encode())


def made_by(content: bytes, signature: bytes) -> str:
    """The kind and fingerprint of the key that made a signature, such as `ED25519 key SHA256:OIDL…`.

    Raises: StorageError: it is not a signature of these bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _fitting(content, _written(folder, signature))


def signed_by(content: bytes, signature: bytes, signers: Signers) -> str:
    """Which of the signers made a signature, and with which key, in words.

    Raises: StorageError: it is not a signature of these bytes, or is of none of the signers.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = _written(folder, signature)
        key = _fitting(content, written)
        allowed = Path(folder, "allowed")
        allowed.write_bytes(signers.allowed)
        found = _run("find-principals", "-f", str(allowed), "-s", written)
        said = _said(found.stderr)
        for name in found.stdout.decode(errors="replace").splitlines():
            verify = ("verify", "-f", str(allowed), "-I", name, "-n", NAMESPACE, "-s", written)
            verified = _run(*verify, content=content)
            if verified.returncode == 0:
                return f"{key}, which is {'the' if name == _SIGNER else f'{name} in'} --signer {signers.place}"
            said = _said(verified.stderr)
        raise StorageError(f"was made with the {key}, which does not count by --signer {signers.place} ({said})")


def sign(contents: Sequence[bytes], key: str) -> list[bytes]:
    """Sign each of these contents. A passphrase is asked for once, at the terminal or by SSH_ASKPASS.

    Args:   key: path of a private key, or of the public half of one that ssh-agent or the file beside it has.
    Raises: UsageError: there is no `ssh-keygen`, or it can't sign with that key.
    """
    require_tool()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        # Contents in files, since `ssh-keygen` asks at the terminal only if that is its input.
        command = [_TOOL, "-Y", "sign", "-f", urls.absolute(key), "-n", NAMESPACE, *map(str, files)]
        done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False)
        signatures = [file.with_name(f"{file.name}{SIGNATURE}") for file in files]
        if done.returncode or not all(signature.is_file() for signature in signatures):
            raise UsageError(_unable(key, _said(done.stderr)))
        return [signature.read_bytes() for signature in signatures]


def has_tool() -> bool:
    """Is `ssh-keygen` installed?"""
    return shutil.which(_TOOL) is not None


def require_tool() -> None:
    """Refuse to go on without `ssh-keygen`.

    Raises: UsageError: it is not installed.
    """
    if not has_tool():
        raise UsageError(
            f"{_TOOL} is not installed, and signatures are made and checked by it: install OpenSSH 8.2 or newer (the "
            "package openssh-client, for example)"
        )


def require_key(key: str) -> None:
    """Refuse what can't be a key to sign with, before anything else is done.

    Raises: UsageError: there is no such file.
    """
    if not urls.is_local(key) or not Path(key).is_file():
        raise UsageError(
            f"--key {key} is not a file on this machine: give a private key; ssh-keygen -t ed25519 -f KEY makes one, "
            "and KEY.pub beside it, which you publish"
        )


def _fitting(content: bytes, signature: str) -> str:
    """The key that made a signature of these bytes. Args: signature: path of the file that has it."""
    checked = _run("check-novalidate", "-n", NAMESPACE, "-s", signature, content=content)
    found = _FOUND_KEY.search(checked.stdout.decode(errors="replace"))
    if checked.returncode or not found:
        raise StorageError(
            "is no signature of the file beside it: one of them was changed, or it signs another release or annex "
            f"({_said(checked.stderr)})"
        )
    return found[1]


def _run(action: str, *arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [_TOOL, "-Y", action, *arguments]
    return subprocess.run(command, input=content, capture_output=True, timeout=_TIMEOUT_S, check=False)


def _written(folder: str, signature: bytes) -> str:
    path = Path(folder, "signature")
    path.write_bytes(signature)
    return str(path)


def _said(stderr: bytes) -> str:
    """What `ssh-keygen` says of a failure, on one line; it frames some of it."""
    lines = stderr.decode(errors="replace").splitlines()
    return "; ".join(line.strip() for line in lines if line.strip() and "@@@" not in line)[:300]


def _unable(key: str, said: str) -> str:
    """Why `ssh-keygen` can't sign with that key, and what to do."""
    first = b""
    with suppress(OSError), open(key, "rb") as file:
        first = file.read(40)  # of a private key this is only the name of its format
    if "passphrase" in said:
        advice = "run the command in a terminal, or run ssh-add and give KEY.pub: then ssh-agent signs"
    elif "too open" in said:
        advice = f"chmod 600 {key}"
    elif _KEY_TYPE.match(first.decode(errors="replace")):
        advice = "this is a public key: give the private one, or load that into ssh-agent with ssh-add"
    elif b"OPENSSH PRIVATE KEY" in first:
        advice = "it can't be read; is it whole?"
    elif b"PRIVATE KEY" in first:
        advice = f"this format lacks the public half: run ssh-keygen -y -f {key} > {key}.pub, then this again"
    elif b"PUBLIC KEY" in first:
        advice = "this is a public key: give the private one"
    else:
        advice = "this is no key of OpenSSH; ssh-keygen -t ed25519 -f KEY makes one"
    return f"--key {key} can't sign: {advice} ({said})"
