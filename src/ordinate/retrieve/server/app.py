"""The server's interface: its paths, what they take and what they answer.

    POST /embed        pictures or texts to vectors
    POST /search       pictures, texts or vectors to the nearest rows of the index
    GET  /health       whether the server runs
    GET  /about        what is served
    GET  /thumbnail    a small picture of a row of the index
    GET  /metrics      counters for Prometheus
    GET  /openapi.json this, for machines
    GET  /             a page for people

A picture is sent as it is, with its own media type, or in base64 within JSON.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi import Query as InQuery
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from ordinate import __version__
from ordinate.ground.errors import InputError
from ordinate.retrieve.server.access import Access
from ordinate.retrieve.server.answers import About, Embeddings, Health, Neighbours, Problem
from ordinate.retrieve.server.batch_queue import BatchQueue
from ordinate.retrieve.server.body import read_body
from ordinate.retrieve.server.limits import Limits
from ordinate.retrieve.server.metrics import MEDIA_TYPE, Metrics
from ordinate.retrieve.server.observed import NUMBER, Observed, broken
from ordinate.retrieve.server.page import page, page_policy
from ordinate.retrieve.server.picture import PICTURE_TYPES
from ordinate.retrieve.server.queries import Options, Query, Rules, json_query, option_bounds, picture_query, query_schema
from ordinate.retrieve.server.refusal import Refused, one_line
from ordinate.retrieve.server.served import Answer, Job, Served, compute
from ordinate.retrieve.server.thumbnails import Thumbnails

__all__ = ["Server"]

PATHS = ("/", "/about", "/embed", "/health", "/metrics", "/openapi.json", "/search", "/thumbnail")
_CROWDED = ("/embed", "/search", "/thumbnail")  # those whose requests take a place
_READERS = 2  # threads that read bodies: each may hold one decoded document, or one decoded picture
_LONGEST_ID = 4096


class Server:
    """An encoder and an index behind HTTP. `app` is the ASGI application."""

    def __init__(
        self,
        served: Served,
        *,
        limits: Limits,
        access: Access,
        thumbnails: Thumbnails | None = None,
        watch: "Callable[[Server], Coroutine[Any, Any, None]] | None" = None,
    ) -> None:
        """
        Args:
            served: what is served at first.
            limits: bounds on everything.
            access: who is let in.
            thumbnails: small pictures of the index's rows, or None.
            watch: runs beside the requests until the server ends, and may call `swap`.
        """
        self.served = served
        self.limits = limits
        self.thumbnails = thumbnails
        self.metrics = Metrics(PATHS)
        self._watch = watch
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="readers")
        self.queue: BatchQueue[Job, Answer] = BatchQueue(compute, places=limits.queue, rows=limits.batch, watch=self.metrics.batch)
        self.metrics.inside.set_function(lambda: self.queue.inside)
        self.metrics.waiting.set_function(lambda: len(self.queue))
        self.metrics.gallery.set_function(lambda: len(self.served.index))
        self.app = self._application(access)

    def swap(self, served: Served) -> None:
        """Serve something else from the next request on."""
        self.served = served
        self.metrics.swaps.inc()

    def _application(self, access: Access) -> Observed:
        app = FastAPI(title="ordinate", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=self._living)
        app.get("/", response_class=HTMLResponse, summary="A page for people", responses=_refusals(400))(self._page)
        app.get("/health", response_model=Health, summary="Whether the server runs", responses=_refusals(400))(self._health)
        app.get("/about", response_model=About, summary="What is served", responses=_refusals(400, 401))(self._about)
        app.get(
            "/metrics", response_class=Response, summary="Counters for Prometheus", responses=_refusals(400, 401) | _content(MEDIA_TYPE)
        )(self._metrics)
        app.get(
            "/thumbnail",
            response_class=Response,
            summary="A small picture of a row of the index",
            responses=_refusals(400, 401, 404, 422, 429, 504) | _content("image/png"),
        )(self._thumbnail)
        refusals = _refusals(400, 401, 408, 409, 413, 415, 422, 429, 500, 504)
        app.post("/embed", response_model=Embeddings, summary="A vector for every input", responses=refusals)(self._embed)
        app.post("/search", response_model=Neighbours, summary="The nearest rows of the index", responses=refusals)(self._search)
        app.get("/openapi.json", include_in_schema=False)(self._openapi)
        app.exception_handler(Refused)(_on_refused)
        app.exception_handler(InputError)(_on_input_error)
        app.exception_handler(HTTPException)(_on_http_exception)
        app.exception_handler(RequestValidationError)(_on_invalid)
        app.exception_handler(Exception)(_on_fault)
        self._inner = app
        return Observed(app, access, self.metrics, lambda path: self.queue.check_room() if path in _CROWDED else None)

    @asynccontextmanager
    async def _living(self, _: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.queue.run())]
        if self._watch is not None:
            tasks.append(asyncio.create_task(self._watch(self)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._readers.shutdown(wait=False, cancel_futures=True)

    async def _page(self) -> Response:
        return HTMLResponse(page(), headers={"Content-Security-Policy": page_policy(), "Cache-Control": "no-cache"})

    async def _health(self) -> Response:
        return JSONResponse({"status": "ok"})

    async def _about(self) -> Response:
        served = self.served
        return JSONResponse(
            {
                "kind": served.rules.kind,
                "rows": len(served.index),
                "width": served.rules.width,
                "dims": list(served.dims),
                "fingerprint": served.fingerprint,
                "run": served.run,
                "thumbnails": self.thumbnails is not None,
            }
        )

    async def _metrics(self) -> Response:
        return Response(self.metrics.text(), media_type=MEDIA_TYPE)

    async def _thumbnail(self, id: Annotated[str, InQuery(max_length=_LONGEST_ID, description="Of the row.")]) -> Response:
        if self.thumbnails is None:
            raise Refused(404, "this server was started without pictures: see --images of ordinate serve")
        with self.queue.place():
            content = await self._reading(asyncio.get_running_loop().time() + self.limits.timeout, _small, self.served, self.thumbnails, id)
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    async def _embed(self, request: Request, dim: Annotated[int | None, InQuery(ge=1)] = None) -> Response:
        return await self._answer(request, "/embed", Options(dim=dim))

    async def _search(
        self,
        request: Request,
        k: Annotated[int | None, InQuery(ge=1)] = None,
        shortlist_dim: Annotated[int | None, InQuery(ge=1)] = None,
        rerank_dim: Annotated[int | None, InQuery(ge=1)] = None,
        shortlist: Annotated[int | None, InQuery(ge=1)] = None,
    ) -> Response:
        return await self._answer(request, "/search", Options(k, shortlist_dim, rerank_dim, shortlist))

    async def _openapi(self) -> Response:
        return JSONResponse(self._schema(self.served.rules))

    async def _answer(self, request: Request, path: str, options: Options) -> Response:
        served = self.served
        _check_options(options, served.rules)
        with self.queue.place():
            deadline = asyncio.get_running_loop().time() + self.limits.timeout
            body = await read_body(request.stream(), request.headers.get("content-length"), self.limits.body, deadline)
            query = await self._reading(deadline, _read, body, request.headers.get("content-type", ""), served, path, options)
            if query.options.fingerprint not in (None, *served.welcome):
                raise Refused(409, "these vectors are of another model, whose space is not this index's: embed the queries with /embed")
            job = Job(served, query, path == "/search")
            try:
                async with asyncio.timeout_at(deadline):
                    answer = await self.queue.ask(job, len(query))
            except TimeoutError:
                raise _late(self.limits) from None
            return Response(await self._reading(deadline, _write, answer, served), media_type="application/json")

    async def _reading(self, deadline: float, work: Callable[..., Any], *arguments: Any) -> Any:
        """`work(*arguments)` in one of the readers' threads, before the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)
        except TimeoutError:
            raise _late(self.limits) from None

    def _schema(self, rules: Rules) -> dict[str, Any]:
        schema = get_openapi(
            title="ordinate",
            version=__version__,
            summary="Neighbours in an index, by what a trained model makes of the queries.",
            routes=self._inner.routes,
        )
        for path in ("/embed", "/search"):
            contents: dict[str, Any] = {"application/json": {"schema": query_schema(rules, path)}}
            if rules.kind == "image":
                contents |= {media: {"schema": {"type": "string", "format": "binary"}} for media in PICTURE_TYPES}
            operation = schema["paths"][path]["post"]
            operation["requestBody"] = {"required": True, "content": contents}
            bounds = option_bounds(rules)
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": bounds[parameter["name"]]}
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        models = schema["components"]["schemas"]
        schema["components"]["schemas"] = {
            "Problem": Problem.model_json_schema(),
            **{name: model for name, model in models.items() if name not in ("HTTPValidationError", "ValidationError")},
        }
        return schema


def _read(body: bytes, media: str, served: Served, path: str, options: Options) -> Query:
    media, rules = media.partition(";")[0].strip().lower(), served.rules
    if media in PICTURE_TYPES:
        return _prepared(picture_query(body, rules, options), served)
    if media in ("application/json", ""):
        return _prepared(json_query(body, rules, path, options), served)
    raise Refused(
        415, f"send application/json{' or one of ' + ', '.join(PICTURE_TYPES) if rules.kind == 'image' else ''}, not {media[:60]!r}"
    )


def _small(served: Served, thumbnails: Thumbnails, name: str) -> bytes:
    if not served.knows(name):
        raise Refused(404, "the index has no row of that id, so there is no picture of it")
    return thumbnails.png(name)


def _prepared(query: Query, served: Served) -> Query:
    inputs = []
    for number, each in enumerate(query.inputs or ()):
        try:
            inputs.append(served.prepare(each))
        except InputError as error:
            raise Refused(422, f"{served.rules.inputs}[{number}]: {error}") from None
    return query if query.inputs is None else replace(query, inputs=inputs)


def _write(answer: Answer, served: Served) -> bytes:
    if answer.vectors is not None:
        document: dict[str, Any] = {"vectors": answer.vectors.tolist(), "dim": answer.vectors.shape[1]}
    else:
        document = {"results": [[_neighbour(*each) for each in row] for row in answer.neighbours or ()]}
    try:
        return json.dumps({**document, "fingerprint": served.fingerprint}, allow_nan=False).encode()
    except ValueError:
        raise Refused(422, "what the model makes of this input is not finite") from None


def _neighbour(name: str, score: float, label: str | None) -> dict[str, Any]:
    return {"id": name, **({} if label is None else {"label": label}), "score": score}


def _check_options(options: Options, rules: Rules) -> None:
    for name, most in option_bounds(rules).items():
        value = getattr(options, name)
        if value is not None and value > most:
            raise Refused(422, f"{name} must be a whole number between 1 and {most:,}")


def _late(limits: Limits) -> Refused:
    return Refused(504, f"no answer within {limits.timeout:g} s")


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _WORDS[status], "content": content} for status in statuses}


_WORDS = {
    400: "Not understood, or addressed to another name",
    401: "A token is needed, or another one",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "Vectors of another model's space",
    413: "Too much of something",
    415: "Another media type is needed",
    422: "Something in it is wrong",
    429: "Busy: Retry-After says when to come again",
    500: "Something went wrong in the server",
    504: "No answer in time",
}


def _content(media: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media.partition(";")[0]: {"schema": {"type": "string"}}}}}


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": one_line(message)}, status, headers={"Cache-Control": "no-store", **(headers or {})})


async def _on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _problem(error.status, error.message, error.headers)


async def _on_input_error(_: Request, error: Exception) -> Response:
    return _problem(422, str(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        404: f"there is nothing at {request.url.path[:80]}: see /openapi.json",
        405: f"{request.url.path[:80]} is not asked by {request.method[:20]}",
    }
    return _problem(error.status_code, words.get(error.status_code, str(error.detail)), dict(error.headers or {}))


async def _on_fault(request: Request, _: Exception) -> Response:
    return _problem(500, broken(request.scope[NUMBER]))  # the error goes on to the outermost layer, which logs it


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    places: Sequence[Any] = first["loc"]
    return _problem(422, f"{'.'.join(str(place)[:60] for place in places[1:])}: {first['msg']}")
