"""The GPU worker: Celery slots that claim jobs, and one engine that owns the device."""
