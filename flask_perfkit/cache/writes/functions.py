"""Functions of databases that neither read tables nor write any, by their names.

Any other may do both: a name tells nothing about a function that somebody defined.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAMES = _words(
    """
    abs acos acosh age all any any_value array array_agg array_append array_cat array_length
    array_position array_remove array_replace array_to_json array_to_string ascii asin atan
    atan2 avg between bit_and bit_length bit_or bit_xor bool_and bool_or btrim cardinality
    case cast cbrt ceil ceiling changes char char_length character_length chr
    clock_timestamp coalesce collate concat concat_ws convert corr cos cot count covar_pop
    covar_samp crc32 cume_dist curdate current_database current_date current_schema
    current_schemas current_setting current_time current_timestamp current_user currval
    curtime database dateadd datediff datename datepart day dayname dayofmonth dayofweek
    dayofyear decode degrees dense_rank distinct div elt encode every exists exp extract
    field filter find_in_set first_value floor format found_rows from_unixtime
    gen_random_uuid generate_series getdate glob greatest group_concat grouping hash hex
    hour hypot if iif ifnull ilike in inet_aton initcap instr int interval is_ipv4 isfinite
    isnull julianday justify_days justify_hours justify_interval lag last_day last_insert_id
    last_insert_rowid last_value lastval lateral lcase lead least left len length like ln
    localtime localtimestamp locate log log10 log2 lower lpad ltrim make_date make_interval
    make_time make_timestamp make_timestamptz makedate max md5 microsecond mid min minute
    mod mode month monthname newid nextval not now nth_value ntile nullif numrange int4range
    int8range tsrange tstzrange daterange nvl octet_length operator over overlaps overlay
    percent_rank percentile_cont percentile_disc pi plainto_tsquery phraseto_tsquery
    websearch_to_tsquery position pow power printf quarter quote quote_ident quote_literal
    quote_nullable radians raise rand random range_agg rank regr_slope repeat replace
    reverse right round row row_count row_number row_to_json rpad rtrim scope_identity
    second session_user setseed setval set_config setweight sha1 sha2 sha224 sha256 sha384
    sha512 sign sin sleep some soundex space split_part sqlite_version sqrt starts_with
    statement_timestamp std stddev stddev_pop stddev_samp str_to_date strftime string_agg
    string_to_array string_to_table strpos stuff substr substring substring_index sum
    sysdate table tan textcat time time_format timediff timeofday timestamp timestampadd
    timestampdiff to_char to_date to_days to_hex to_json to_jsonb to_number to_seconds
    to_timestamp to_tsquery to_tsvector total total_changes trim trunc truncate try_cast
    try_convert typeof ucase unaccent unhex unicode unistr unix_timestamp unnest upper user
    utc_date utc_time utc_timestamp uuid uuid_generate_v1 uuid_generate_v4 uuidv4 uuidv7
    using values var_pop var_samp variance version week weekday weekofyear width_bucket
    within xmlagg year yearweek zeroblob date datetime date_add date_bin date_diff
    date_format date_part date_sub date_trunc datetrunc and or as on then when else select
    where from decimal numeric varchar similarity word_similarity strict_word_similarity
    levenshtein metaphone earth_distance ll_to_earth pg_advisory_lock pg_advisory_xact_lock
    pg_advisory_unlock pg_try_advisory_lock pg_try_advisory_xact_lock pg_backend_pid
    pg_sleep pg_notify pg_typeof pg_is_in_recovery pg_current_wal_lsn pg_last_wal_replay_lsn
    get_lock release_lock txid_current
    """
) - {"total"}
_FAMILIES = re.compile(r"json_|jsonb_|regexp_|range_|ts_|st_|array_|bit_|date_|time_|inet_|hash")


def is_known_function(name: str) -> bool:
    """Say whether a function of this name reads nothing and writes nothing."""
    name = name.lower()
    return name in _NAMES or _FAMILIES.match(name) is not None
