"""What diffusers offers for autoencoders that take too much memory, under its pipelines' names for it."""

from typing import Any


class SavesVaeMemory:
    """A pipeline whose autoencoder can work part by part. A mask decoder needs so little that it has no parts."""

    vae: Any

    def enable_vae_slicing(self) -> None:
        """Let the autoencoder take images and members one by one: less memory, a little more time."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        """Undo `enable_vae_slicing`."""
        self.vae.disable_slicing()

    def enable_vae_tiling(self) -> None:
        """Let the autoencoder take large images in tiles, whose seams are blended: less memory, slightly other maps."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Undo `enable_vae_tiling`."""
        self.vae.disable_tiling()
