"""Copying a release to where others get it: a folder, a bucket, or the Hugging Face Hub."""
