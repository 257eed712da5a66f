"""n_plus_one_cache: keys read from Redis, or from PerfKit's cache, one by one."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_TOGETHER = {
    "GET": "r.mget(keys)",
    "GETEX": "a pipeline: with r.pipeline() as p: [p.getex(key) for key in keys]; p.execute()",
    "HGET": "r.hmget(name, keys), or a pipeline for many names",
    "EXISTS": "r.exists(*keys), or a pipeline",
    "SISMEMBER": "r.smismember(name, members)",
    "ZSCORE": "r.zmscore(name, members)",
}
_READS = {
    *_TOGETHER,
    *("GETRANGE", "STRLEN", "TTL", "PTTL", "TYPE", "HGETALL", "HMGET", "HLEN", "HEXISTS"),
    *("SMEMBERS", "SCARD", "LRANGE", "LLEN", "LINDEX", "ZRANGE", "ZCARD", "ZRANK", "JSON.GET"),
}


_NO_READS = {"get_many", "set", "delete", "delete_matching", "invalidate"}


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find lines that read from Redis or from the cache again and again."""
    often = [call for call in profile.cache_calls if call.count >= settings.n_plus_one_threshold]
    return [
        *(_redis_finding(call, profile) for call in often if _reads_redis(call)),
        *(_cache_finding(call, profile) for call in often if _reads_cache(call)),
    ]


def _reads_redis(call: Call) -> bool:
    return call.kind == "redis" and call.name in _READS


def _reads_cache(call: Call) -> bool:
    return call.kind == "cache" and call.name not in _NO_READS


def _redis_finding(call: Call, profile: Profile) -> Finding:
    fix = _TOGETHER.get(
        call.name, "a pipeline: with r.pipeline() as p: queue all commands; p.execute()"
    )
    message = (
        f"{call.count} {call.name} commands to Redis, one by one "
        f"({milliseconds(call.duration)}) {place(call, profile)}; send them together: {fix}"
    )
    return finding_of("n_plus_one_cache", call, profile, message=message, fix=fix)


def _cache_finding(call: Call, profile: Profile) -> Finding:
    """Say what to do with many keys, or with one that is read many times.

    Where a cached function reads, the call bears the function's name.
    """
    if len(call.keys) == 1:
        fix = "keep the value in a variable"
    elif call.name == "get":
        fix = "perfkit.cache.get_many(keys)"
    elif call.name == "get_or_create":
        fix = "perfkit.cache.get_many(keys), then make what is missing"
    else:
        key = f"{call.name.rpartition('.')[2]}.cache_key(...)"
        fix = f"perfkit.cache.get_many([{key}, ...]), then make what is missing"
    message = (
        f"{call.count} reads of {'one key' if len(call.keys) == 1 else 'the cache'}, one by one "
        f"({call.name}, {milliseconds(call.duration)}) {place(call, profile)}; read once: {fix}"
    )
    return finding_of("n_plus_one_cache", call, profile, message=message, fix=fix)
