"""Films: what a request for one is, the models that make them, the program that does, and the MP4 file.

Films of several families share one interface, `VideoModel`. Not for pictures (worker/gpu/painting).
"""

from worker.gpu.filming.film import Film, film
from worker.gpu.filming.loading import expected_bytes, load_video_model, measured_bytes
from worker.gpu.filming.model import VideoModel
from worker.gpu.filming.mp4 import encode_mp4
from worker.gpu.filming.request import FilmRequest

__all__ = [
    "Film",
    "FilmRequest",
    "VideoModel",
    "encode_mp4",
    "expected_bytes",
    "film",
    "load_video_model",
    "measured_bytes",
]
