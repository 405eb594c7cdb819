"""Builds the gateway's app from its settings."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum

from fastapi import FastAPI, Request, Response

from api.cleaning import remove_expired_files
from api.context import Gateway
from api.errors import install_error_handlers
from api.intake import Intake
from api.metrics import Metrics
from api.routes import files, generation, health, jobs, management, uploads
from api.routes.families import FAMILIES
from api.waiting import Waiter
from shared.api_keys import KeyRing
from shared.broker import Bell, make_celery
from shared.ledger import AsyncLedger, Ledger
from shared.settings import Settings
from shared.storage import FolderStorage
from shared.sweeper import Sweeper


def create_app(settings: Settings) -> FastAPI:
    """The gateway. Raises `Misconfigured` if it must not serve with these settings."""
    settings.require_serviceable()
    keys = KeyRing.from_settings(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        bell = Bell(make_celery(settings.redis_url, "printworks-gateway"))
        store = AsyncLedger(settings.redis_url)
        sweep_store = Ledger(settings.redis_url)
        sweeper = Sweeper(settings, sweep_store, bell)
        waiter = Waiter(store)
        storage = FolderStorage(settings.data_dir, settings.temp_life_s)
        intake = Intake(settings, storage)
        app.state.gateway = Gateway(settings, keys, store, waiter, bell, storage, intake, Metrics())
        waiter.start()
        sweeper.start()
        cleaner = asyncio.create_task(remove_expired_files(storage, settings), name="cleaner")
        yield
        cleaner.cancel()
        sweeper.close()
        await waiter.close()
        bell.close()
        sweep_store.close()
        await store.close()

    app = FastAPI(title="Printworks", version="0.1.0", lifespan=lifespan)
    for module in (generation, files, health):
        app.include_router(module.router)
    for family in FAMILIES:
        tags: list[str | Enum] = [family.prefix]
        app.include_router(jobs.router, prefix=family.jobs_prefix, tags=tags)
        if family.manages:
            app.include_router(management.router, prefix=family.prefix, tags=tags)
        if family.reloads_models:
            app.include_router(management.reloading, prefix=family.prefix, tags=tags)
        if family.takes_uploads:
            app.include_router(uploads.router, prefix=family.prefix, tags=tags)
    install_error_handlers(app)
    app.middleware("http")(_count)
    return app


async def _count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    started = time.perf_counter()
    response = await call_next(request)
    metrics: Metrics = request.app.state.gateway.metrics
    route = getattr(request.scope.get("route"), "path", "none")
    metrics.requests.labels(route=route, status=response.status_code).inc()
    metrics.request_seconds.labels(route=route).observe(time.perf_counter() - started)
    return response
