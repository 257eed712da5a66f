"""n_plus_one_cache: keys read from Redis one by one."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.detectors.wording import finding_of, milliseconds, place
from flask_perfkit.findings import Finding
from flask_perfkit.profile import Call, Profile

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


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find lines that read from Redis again and again."""
    return [
        _finding(call, profile)
        for call in profile.cache_calls
        if call.count >= settings.n_plus_one_threshold and call.name in _READS
    ]


def _finding(call: Call, profile: Profile) -> Finding:
    fix = _TOGETHER.get(
        call.name, "a pipeline: with r.pipeline() as p: queue all commands; p.execute()"
    )
    message = (
        f"{call.count} {call.name} commands to Redis, one by one "
        f"({milliseconds(call.duration)}) {place(call)}; ask once: {fix}"
    )
    return finding_of("n_plus_one_cache", call, profile, message=message, fix=fix)
