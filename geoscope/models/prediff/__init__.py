"""PreDiff (Gao et al. 2023): latent diffusion of radar sequences, with control by what is known of the future."""
