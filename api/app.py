"""Builds the gateway's app from its settings."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from api.arriving import Arriving
from api.balancing.balancer import Balancer
from api.bodies import Bodies
from api.cleaning import remove_expired_files
from api.context import Gateway
from api.counting import Counting
from api.errors import install_error_handlers
from api.intake import Intake
from api.links import Links
from api.listening import Listener
from api.metrics import Metrics
from api.paths import TidyPaths
from api.routes import (
    copies,
    deliveries,
    files,
    generation,
    health,
    jobs,
    management,
    models,
    peers,
    servers,
    targets,
    uploads,
)
from api.routes.families import FAMILIES, Family
from api.security_headers import SecurityHeaders
from api.tracing import Tracing
from api.upkeep import keep_up, require_usable, seeded
from api.waiting import Waiter
from shared.broker import Bell, make_celery
from shared.ledger import BACK_CHANNEL, DONE_CHANNEL, AsyncLedger, Ledger
from shared.manifests import Manifests
from shared.registry.reading import AsyncRegistry
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import FolderStorage
from shared.sweeper import Sweeper
from shared.version import VERSION

NONE_OF_ITS_OWN: TelemetryConfig = {
    **{"tracing": False, "metrics": False, "logs": False},
    **{"operation_spans": False, "auto_configure": False},
}
"""FastAPI's tells paths, queries and errors' words, which may hold keys and what clients have written."""
PREFLIGHT_LIFE_S = 24 * 3600


class _App(FastAPI):
    """With what belongs around all answers: those to errors that nobody foresaw come from outside of all
    middlewares that are added."""

    def build_middleware_stack(self) -> ASGIApp:
        return Arriving(SecurityHeaders(Tracing(super().build_middleware_stack())))


def create_app(settings: Settings) -> FastAPI:
    """The gateway. Raises `Misconfigured` if it must not serve with these settings."""
    keys = require_usable(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        bell = Bell(make_celery(settings.redis_url, "printworks-gateway"))
        store = AsyncLedger(settings.redis_url)
        sweep_store = Ledger(settings.redis_url)
        sweeper = Sweeper(settings, sweep_store, bell)
        waiter = Waiter(store, settings.max_waiting)
        storage = FolderStorage(settings.data_dir, settings.temp_life_s)
        intake, sealer = Intake(settings, storage), Sealer(settings)
        balancer = Balancer(lambda: cast(Gateway, app.state.gateway))
        app.state.gateway = Gateway(
            settings=settings,
            sealer=sealer,
            keys=keys,
            ledger=store,
            waiter=waiter,
            bodies=Bodies(),
            bell=bell,
            registry=AsyncRegistry(store),
            storage=storage,
            intake=intake,
            links=Links(settings, sealer),
            manifests=Manifests(),
            metrics=Metrics(),
            balancer=balancer,
        )
        heard = {
            DONE_CHANNEL: [waiter.wake, balancer.calling_back.ended],
            BACK_CHANNEL: [balancer.came_back],
        }
        listener = Listener(store, heard)
        listener.start()
        sweeper.start()
        is_seeded = await seeded(sweep_store, settings)
        await balancer.start()
        tasks = [
            asyncio.create_task(keep_up(app, sweep_store, is_seeded), name="upkeep"),
            asyncio.create_task(remove_expired_files(app), name="cleaner"),
        ]
        yield
        for task in tasks:
            task.cancel()
        sweeper.close()
        await balancer.close()
        await listener.close()
        bell.close()
        sweep_store.close()
        await store.close()

    app = _App(
        title="Printworks",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        telemetry=NONE_OF_ITS_OWN,
    )
    for router in (generation.router, files.router, targets.links, servers.router, health.router):
        app.include_router(router)
    for family in FAMILIES:
        for router, prefix in _routers(family):
            app.include_router(router, prefix=prefix, tags=[family.prefix])
    install_error_handlers(app)
    app.add_middleware(Counting)
    # any page may call: a key travels in the request, never in a cookie
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "X-RateLimit-Reset"],
        max_age=PREFLIGHT_LIFE_S,
    )
    app.add_middleware(TidyPaths)
    return app


def _routers(family: Family) -> Iterator[tuple[APIRouter, str]]:
    """What a family has besides the endpoints that make something, and under which prefix."""
    yield jobs.router, family.jobs_prefix
    yield deliveries.router, family.jobs_prefix
    switches = (
        (management.router, family.manages),
        (models.router, family.has_models),
        (targets.router, family.has_models),
        (copies.router, family.has_models),
        (peers.router, family.has_models),
        (management.reloading, family.reloads_models),
        (uploads.router, family.takes_uploads),
    )
    yield from ((router, family.prefix) for router, is_on in switches if is_on)
