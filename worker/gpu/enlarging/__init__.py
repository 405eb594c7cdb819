"""Pictures made larger: in tiles, by any kind of upscaler, with the faces in them restored.

What loads upscalers and what runs the program is not here (worker/gpu/models, worker/gpu/studio.py).
"""

from worker.gpu.enlarging.faces import Face, FaceEnhancer, load_face_enhancer
from worker.gpu.enlarging.loading import load_upscaler
from worker.gpu.enlarging.program import EnlargeRequest, enlarge_picture, enlarge_to, largest_pixels
from worker.gpu.enlarging.upscaler import Upscaler

__all__ = [
    "EnlargeRequest",
    "Face",
    "FaceEnhancer",
    "Upscaler",
    "enlarge_picture",
    "enlarge_to",
    "largest_pixels",
    "load_face_enhancer",
    "load_upscaler",
]
