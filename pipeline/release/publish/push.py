"""Publish a release; the target decides how."""

from pipeline.release.publish.folder import push_to_folder
from pipeline.release.publish.hub import push_to_hub
from pipeline.release.publish.login import HUB
from pipeline.release.publish.report import PushReport


def push_release(
    release: str,
    target: str,
    *,
    dry_run: bool = False,
    loaders: bool = False,
) -> PushReport:
    """Copy a release to a folder, a bucket or the Hugging Face Hub, check the copy, and make it visible.

    Then its annexes and signatures are added, or those that are new since an earlier push.

    Everything that can be refused is refused before the check of the release, which takes minutes.

    Args:    release: its folder or URL. target: folder or URL that holds all releases, or hf://datasets/ORG/NAME.
             dry_run: change nothing; only report what a push would do.
             loaders: see `verify_release`.
    Raises:  UsageError: nothing can be published at the target, or nobody is logged in there.
             CollectionError: there is no release.
             ReleaseExistsError: the target already has another release of this version, another annex of one of the
             numbers, or another signature.
             UnsoundReleaseError: the release, an annex or a signature has problems.
             StorageError: what arrived is not what was sent.
    """
    push = push_to_hub if target.startswith(HUB) else push_to_folder
    return push(release, target, dry_run=dry_run, loaders=loaders)
