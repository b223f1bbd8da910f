//! Distributions' repositories: which packages hold which kernels.
