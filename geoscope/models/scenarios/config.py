"""The settings of the scenario model: an autoencoder of score fields, a denoiser, an alignment network."""

from collections.abc import Callable
from dataclasses import dataclass

from geoscope.errors import ConfigError
from geoscope.models.prediff.config import AutoencoderConfig, DenoiserConfig
from geoscope.ops.cuboid_attention import Cuboids

FEATURES = 8  # of a cell and frame that the networks are told, see `conditions`
STEPS = 6  # model steps ahead, ten minutes each where frames come at least that often


@dataclass(frozen=True, kw_only=True)
class ScenarioConfig:
    """A scenario model.

    preset: the name under which `PRESETS` builds this config again.
    nowcaster: the name of the model whose distributions it draws from; weights fit that one alone.
    patch: pixels of a score field that are folded into channels along rows and columns before the autoencoder.
    autoencoder: of folded score fields; its answer is a mean and a log standard deviation for each pixel.
    denoiser, alignment: on latents beside `FEATURES`, on any grid: their positions are "t".
    schedule, schedule_steps: of the diffusion. prediction is v.
    """

    preset: str
    nowcaster: str
    autoencoder: AutoencoderConfig
    denoiser: DenoiserConfig
    alignment: DenoiserConfig
    patch: int = 4
    schedule: str = "cosine"
    schedule_steps: int = 1000

    def __post_init__(self) -> None:
        folded = self.patch**2
        if (self.autoencoder.channels, self.autoencoder.out_channels) != (folded, 2 * folded):
            raise ConfigError(
                f"the autoencoder has {self.autoencoder.channels} channels in and {self.autoencoder.out_channels} out: "
                f"patch={self.patch} asks for {folded} and {2 * folded}"
            )
        for name in ("denoiser", "alignment"):
            network: DenoiserConfig = getattr(self, name)
            channels = self.latent_channels + FEATURES
            if network.positions != "t" or network.channels != channels:
                raise ConfigError(
                    f"the {name} needs positions='t' and {channels} channels ({self.latent_channels} of a latent and "
                    f"{FEATURES} features), got {network.positions!r} and {network.channels}"
                )
            if (network.input_shape[0], network.target_shape[0]) != (1, STEPS):
                raise ConfigError(
                    f"the {name} reads 1 frame and {STEPS} steps, got {network.input_shape[0]} and "
                    f"{network.target_shape[0]}"
                )

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.autoencoder.latent_channels

    @property
    def cell(self) -> int:
        """Pixels of the field to one cell of a latent, along rows and along columns."""
        return self.patch * self.autoencoder.factor

    @property
    def multiple(self) -> int:
        """What rows and columns are filled up to a multiple of: cells merge once between the networks' levels."""
        return self.cell * 2 ** (len(self.denoiser.depth) - 1)


def _on_latents(width: int, channels: int) -> DenoiserConfig:
    """Two levels; attention along time and in windows of eight cells, shifted by half every other time."""
    attention = (
        Cuboids(size=(1 + STEPS, 1, 1)),
        Cuboids(size=(1, 8, 8)),
        Cuboids(size=(1, 8, 8), shift=(0, 4, 4)),
    )
    return DenoiserConfig(
        input_shape=(1, 16, 16, channels),
        target_shape=(STEPS, 16, 16, channels),
        base_width=width,
        widths=(width, 2 * width),
        heads=4,
        depth=(1, 1),
        attention=attention,
        padding="ignore",
        positions="t",
        norm_groups=8,  # with a group a channel, as the published rule has it here, no block would hear the time
    )


def scenarios_small(
    *, latent: int = 4, width: int = 48, alignment_width: int = 24, preset: str = "small"
) -> ScenarioConfig:
    """The shipped model: cells of 8 pixels with 4 numbers each, 16 times fewer than pixels."""
    return ScenarioConfig(
        preset=preset,
        nowcaster="earthformer-nowcast",
        autoencoder=AutoencoderConfig(
            channels=16, out_channels=32, widths=(48, 72), blocks=1, latent_channels=latent, groups=8
        ),
        denoiser=_on_latents(width, latent + FEATURES),
        alignment=_on_latents(alignment_width, latent + FEATURES),
    )


PRESETS: dict[str, Callable[[], ScenarioConfig]] = {"small": scenarios_small}
