"""From a URL to a client that fails fast, and the backend on top of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from flask_perfkit.cache.process.fork import call_after_fork
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.stores.breaker import AllInUse
from flask_perfkit.cache.stores.redis import ClusterBackend, RedisBackend
from flask_perfkit.errors import ExtraMissing, SettingsError

_TIMEOUT = 0.25
_SENTINEL_PORT = 26379
_RUN_ID = re.compile(rb"run_id:(\w+)")
_NO_RUN_ID = "unknown"


def connect(url: str) -> RedisBackend:
    """Make a backend for a ``redis://``, ``rediss://``, ``unix://``, Sentinel or Cluster URL.

    ``redis+sentinel://host:26379,host2:26379/service/0`` and ``redis+cluster://host:7000``
    (``rediss+cluster://`` with TLS). Options of redis-py go into the query; without them a
    trip may take 0.25 s and is not retried. ``namespace`` (``perfkit``) is ours: the first
    part of all keys, for applications that share a server but no database. Nothing is
    connected yet.

    :raises ExtraMissing: redis-py is not installed.
    :raises SettingsError: the URL's port or one of its options is not usable.
    """
    try:
        import redis  # noqa: F401
    except ImportError as error:
        raise ExtraMissing("The Redis cache", "redis") from error

    address, namespace = without_namespace(url)
    epochs = _Epochs()
    scheme = urlsplit(address).scheme
    if scheme != "redis+sentinel":
        _check_port(address)
    if scheme.endswith("+cluster"):  # its client asks the cluster at once
        cluster = _Client(lambda: _cluster(address.replace("+cluster", "", 1), epochs))
        return ClusterBackend(cluster, lambda: epochs.of_key(cluster, namespace), namespace)
    make = partial(_sentinel if scheme == "redis+sentinel" else _single, address, epochs)
    return RedisBackend(_Client(make, make()), lambda: epochs.latest, namespace)


class _Client:
    """A client of redis-py that is made when it is first used, and anew in a forked child.

    redis-py takes locks there that a thread may have held which is gone.

    :param client: one that is made already.
    """

    def __init__(self, make: Callable[[], Any], client: Any = None) -> None:
        self._make = make
        self._client = client
        self._of_parents: list[Any] = []
        call_after_fork(self._after_fork)

    def __getattr__(self, name: str) -> Any:
        if self._client is None:
            self._client = self._make()
        return getattr(self._client, name)

    def _after_fork(self) -> None:
        self._of_parents.append(self._client)  # to let it go may need its locks as well
        self._client = None


def _check_port(url: str) -> None:
    try:
        urlsplit(url).port  # noqa: B018 - it is checked when it is asked for
    except ValueError:
        # Its own words may quote a password that was not escaped.
        raise SettingsError(
            "PERFKIT_REDIS_URL has an invalid port; allowed is a number up to 65535 (in a "
            "password, write %3A for a colon, %2F for a slash and %40 for an at sign)"
        ) from None


class _Epochs:
    """The run ids of the servers, asked for whenever a connection is made.

    A server that comes back with an older snapshot, and a replica that takes over, bring
    tokens back that were given up since. The run id is new in both cases.
    """

    def __init__(self) -> None:
        self.latest = ""
        self._by_node: dict[str, str] = {}

    def connected(self, connection: Any) -> None:
        """Greet a server, then ask who it is."""
        connection.on_connect()
        self.ask(connection)

    def ask(self, connection: Any) -> None:
        from redis.exceptions import ResponseError

        connection.send_command("INFO", "server")
        try:
            found = _RUN_ID.search(connection.read_response())
        except ResponseError as error:
            found = None
            if self.latest != _NO_RUN_ID:
                warn(
                    "The cache may not send INFO to its server (%s): after a restart from a "
                    "snapshot it could take older values for current ones",
                    error,
                )
        self.latest = found[1].decode() if found else _NO_RUN_ID
        if hasattr(connection, "port"):  # not so on a unix socket
            self._by_node[f"{connection.host}:{connection.port}"] = self.latest

    def of_key(self, cluster: Any, namespace: str) -> str:
        """Return the run id of the cluster's node that holds the tokens."""
        node = cluster.get_node_from_key(f"{namespace}:{{t}}:")
        return self._by_node.get(node.name, "")


def _single(url: str, epochs: _Epochs) -> Any:
    import redis

    try:
        options = {"redis_connect_func": epochs.connected, **_options()}
        if "max_connections=" in url:  # callers wait a moment for one: our limit is no fault
            pool = _waiting_pool().from_url(url, timeout=_TIMEOUT, **options)
        else:
            pool = redis.ConnectionPool.from_url(url, **options)
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"PERFKIT_REDIS_URL has an invalid option: {error}") from error
    return redis.Redis(connection_pool=pool)


def _waiting_pool() -> Any:
    from queue import Empty

    from redis.connection import BlockingConnectionPool
    from redis.exceptions import ConnectionError as NoConnection

    class WaitingPool(BlockingConnectionPool):
        """A pool of so many connections, of which each caller waits for one for a moment."""

        def get_connection(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().get_connection(*args, **kwargs)  # type: ignore[no-untyped-call]
            except NoConnection as error:
                if isinstance(error.__context__, Empty):
                    raise AllInUse from error
                raise

    return WaitingPool


def _cluster(url: str, epochs: _Epochs) -> Any:
    from redis.cluster import RedisCluster

    options = {"require_full_coverage": False, **_options()}
    return RedisCluster.from_url(url, redis_connect_func=epochs.ask, **options)


def _sentinel(url: str, epochs: _Epochs) -> Any:
    from redis.sentinel import Sentinel

    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise SettingsError(
            "PERFKIT_REDIS_URL names no service; allowed is redis+sentinel://host:port/service"
        )
    options: dict[str, Any] = {**_options(), **_typed(dict(parse_qsl(parts.query)))}
    user, _, password = credentials.partition(":")
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    sentinel = {
        "password": options.pop("sentinel_password", None),
        "socket_timeout": options["socket_timeout"],
        "socket_connect_timeout": options["socket_connect_timeout"],
        "retry": options["retry"],
    }
    addresses = [
        (host, int(port or _SENTINEL_PORT)) for host, _, port in map(_host, hosts.split(","))
    ]
    group: Any = Sentinel(addresses, sentinel_kwargs=sentinel)  # type: ignore[no-untyped-call]
    return group.master_for(
        service, db=int(database or 0), redis_connect_func=epochs.connected, **options
    )


def _host(text: str) -> tuple[str, str, str]:
    return text.rpartition(":") if ":" in text else (text, "", "")


def _options() -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "encoding_errors": "surrogatepass",  # half a character in a user's key is no fault of ours
    }


def _typed(options: Mapping[str, str]) -> dict[str, Any]:
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS

    parsers: Mapping[str, Any] = URL_QUERY_ARGUMENT_PARSERS
    return {name: parsers.get(name, str)(value) for name, value in options.items()}


def without_namespace(url: str) -> tuple[str, str]:
    """Return a URL as the driver takes it, and the namespace that it names."""
    address, _, text = url.partition("?")
    query = dict(parse_qsl(text))
    namespace = query.pop("namespace", "perfkit")
    return f"{address}?{urlencode(query)}" if query else address, namespace
