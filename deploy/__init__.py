"""What runs the cluster outside the code: images, charts, and the demo model."""
