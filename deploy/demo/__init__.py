"""The demo model: a tiny Stable Diffusion that draws coloured shapes, and how it was trained."""
