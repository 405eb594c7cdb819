"""Hands each kind of job to the module that makes it."""

from typing import Any, assert_never

from shared.jobs import CheckSpec, EnlargementSpec, FilmSpec, PictureSpec
from worker.gpu.engine import Rendering
from worker.gpu.studio.checks import check_picture
from worker.gpu.studio.enlargements import enlarge
from worker.gpu.studio.films import make_film
from worker.gpu.studio.pictures import make_pictures
from worker.gpu.studio.tools import Inputs, Made, OnBegin, Tools


def _nobody(_: Rendering[Any]) -> None:
    """Watches no rendering."""


MadeSpec = PictureSpec | FilmSpec | EnlargementSpec | CheckSpec
"""All but the loads of models, which need no engine."""


class Studio(Tools):
    """What a slot makes its job with."""

    def make(self, spec: MadeSpec, inputs: Inputs | None = None, on_begin: OnBegin = _nobody) -> Made:
        """Blocks until all is made.

        Raises `Cancelled`, or `GenerationFailed` with what is to be told to the client.
        """
        match spec:
            case PictureSpec():
                return make_pictures(self, spec, inputs or {}, on_begin)
            case CheckSpec():
                return check_picture(self, spec, inputs or {}, on_begin)
            case EnlargementSpec():
                return enlarge(self, spec, inputs or {}, on_begin)
            case FilmSpec():
                return make_film(self, spec, on_begin)
            case _:
                assert_never(spec)
