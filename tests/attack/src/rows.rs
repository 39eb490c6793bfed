//! The table of attacks: one row for each threat of docs/security.md.

mod floods;
mod frames;
mod http;
mod inside;
mod rights;
mod slow;
mod tokens;
mod writers;

use crate::attack::Attack;
use crate::floods::{Flood, attacks};
use crate::honest::Honest;
use crate::target::Target;
use std::sync::Arc;

/// The context of an attack: the services and the honest client.
#[derive(Clone)]
pub struct Scene {
    /// The services under attack.
    pub target: Arc<Target>,
    /// The client that must not be harmed.
    pub honest: Arc<Honest>,
}

/// How a row attacks its defence.
#[derive(Clone, Copy)]
pub enum How {
    /// Runs alone against `driftless dev`, from outside or in this process.
    Now(fn(Scene) -> Attack),
    /// Runs against `driftless dev` beside the other rows, because it waits for time limits.
    Beside(fn(Scene) -> Attack),
    /// Floods the services as operators run them, while honest clients edit in another process.
    Flood(fn(Flood) -> Attack),
    /// Nothing runs here. Only the tests that the row names attack the threat.
    ByTests,
    /// Not attacked, for this reason: an argument and no measurement.
    Argued(&'static str),
}

/// A row of the table: one threat with its attack.
#[derive(Clone, Copy)]
pub struct Row {
    /// The row's id in docs/security.md.
    pub id: &'static str,
    /// The threat in short.
    pub threat: &'static str,
    /// The attack.
    pub how: How,
    /// The tests elsewhere that attack the same threat.
    pub tests: &'static [&'static str],
}

macro_rules! now {
    ($attack:path) => {
        How::Now(|scene| Box::pin($attack(scene)))
    };
}

macro_rules! beside {
    ($attack:path) => {
        How::Beside(|scene| Box::pin($attack(scene)))
    };
}

macro_rules! flood {
    ($attack:path) => {
        How::Flood(|flood| Box::pin($attack(flood)))
    };
}

const fn row(id: &'static str, threat: &'static str, how: How, tests: &'static [&'static str]) -> Row {
    Row { id, threat, how, tests }
}

/// All rows, in the order of docs/security.md.
pub const ROWS: &[Row] = &[
    row(
        "token-forged",
        "a token that is signed by somebody else, or changed",
        now!(tokens::forged),
        &["every_unusable_token_has_a_name"],
    ),
    row(
        "token-algorithm",
        "`none`, another algorithm, HS256 with the public key",
        now!(tokens::algorithm),
        &["a_public_key_is_never_an_hmac_secret"],
    ),
    row(
        "token-time",
        "an expired token, one that is not valid yet, one without an end, one that lives too long",
        now!(tokens::time),
        &[
            "an_expired_token_reads_nothing_new_until_it_is_renewed",
            "a_token_that_lives_longer_than_the_maximum_is_refused_with_both_numbers",
        ],
    ),
    row(
        "token-elsewhere",
        "a token for other services or another world, signed with the same key",
        now!(tokens::elsewhere),
        &[
            "audience_and_issuer_are_required_if_they_are_set",
            "a_token_of_one_world_is_refused_by_services_of_other_worlds_and_of_worlds_without_an_id",
        ],
    ),
    row(
        "token-replayed",
        "a stolen token on another connection, and after its denial",
        beside!(tokens::replayed),
        &[
            "a_denied_token_is_refused_by_its_user_or_by_its_jti",
            "sockets_and_event_streams_of_a_denied_user_are_closed_at_once",
        ],
    ),
    row(
        "token-key-leaked",
        "tokens of a key that leaked, after it was taken out of the key file",
        beside!(tokens::leaked),
        &["a_socket_is_closed_when_the_key_of_its_token_is_removed", "removing_a_key_ends_its_tokens_and_no_others"],
    ),
    row(
        "token-renewed",
        "Renew with another user's token, or a second Hello",
        now!(tokens::renewed),
        &["a_token_may_be_renewed_by_its_user_and_by_nobody_else"],
    ),
    row(
        "token-timing",
        "guessing a signature by the time of its comparison",
        How::Argued("the comparison is aws-lc's: HMAC by CRYPTO_memcmp, signatures by public keys"),
        &[],
    ),
    row(
        "write-as-another",
        "a session of somebody else, its numbers, its outcomes",
        now!(rights::as_another),
        &["an_author_gets_the_status_of_its_command"],
    ),
    row(
        "write-without-rights",
        "edits of what a token may not write",
        now!(rights::write),
        &["a_command_is_checked_against_the_token_of_its_moment"],
    ),
    row(
        "read-without-rights",
        "Track, GET, events and status of what a token may not read",
        now!(rights::read),
        &["a_renewed_token_with_less_access_ends_tracking_of_what_it_does_not_cover"],
    ),
    row("slow-head", "the head of a request byte by byte", beside!(slow::head), &[]),
    row(
        "slow-body",
        "the body of a request byte by byte",
        beside!(slow::body),
        &["a_body_that_does_not_arrive_times_out"],
    ),
    row(
        "slow-tls",
        "a TLS handshake that does not come",
        beside!(slow::tls),
        &["a_handshake_that_does_not_arrive_times_out"],
    ),
    row("slow-hello", "a websocket without a Hello", beside!(slow::no_hello), &["a_socket_without_hello_is_closed"]),
    row(
        "slow-frame",
        "a Hello byte by byte",
        beside!(slow::frame),
        &["messages_are_the_same_however_the_bytes_are_split"],
    ),
    row(
        "slow-reader",
        "answers, updates and events that are not taken",
        beside!(slow::reader),
        &[
            "r9_a_client_that_takes_no_bytes_is_closed_after_the_write_timeout",
            "a_reader_that_takes_no_bytes_is_cut_off_and_frees_its_place",
            "a_client_that_reads_nothing_does_not_hold_its_connection",
            "a_peer_that_reads_nothing_does_not_keep_its_slot",
            "r9_a_slow_client_lags_and_catches_up_without_a_gap",
        ],
    ),
    row(
        "frame-giant",
        "frames of 2^63 bytes, unmasked, with reserved bits, control frames in parts",
        now!(frames::giant),
        &["bytes_that_violate_the_protocol_are_named"],
    ),
    row(
        "frame-fragments",
        "a message in fragments without end",
        now!(frames::fragments),
        &["no_bytes_panic_and_no_more_bytes_are_held_than_arrived"],
    ),
    row(
        "frame-requests",
        "more requests in a frame than it may have, garbage",
        now!(frames::requests),
        &["a_frame_with_too_many_requests_is_refused_whole"],
    ),
    row("frame-deflate", "a compressed message that is a bomb", now!(frames::deflate), &[]),
    row(
        "bomb-store",
        "a snapshot in the store that is a bomb",
        now!(inside::store_bomb),
        &["r7_a_damaged_snapshot_is_never_served"],
    ),
    row(
        "bomb-client",
        "a Chunk that is a bomb to the client",
        now!(inside::client_bomb),
        &["r7_a_chunk_that_is_too_large_or_has_another_hash_is_rejected"],
    ),
    row("bomb-http", "a compressed request, and contents as pictures and JSON", now!(http::bodies), &[]),
    row(
        "flood-commands",
        "more commands than a user may send",
        now!(floods::commands),
        &["who_is_too_fast_is_told_when_to_come_again_over_all_sockets"],
    ),
    row(
        "flood-cost",
        "few commands that cost much",
        now!(floods::cost),
        &["one_fill_costs_as_much_as_the_cells_that_it_writes"],
    ),
    row(
        "flood-requests",
        "more requests than a user may send",
        now!(floods::requests),
        &["a_user_over_its_rate_is_throttled_and_loses_no_request"],
    ),
    row(
        "flood-user-sockets",
        "more websockets than a user may have",
        now!(floods::user_sockets),
        &["each_user_has_its_own_limit_of_sockets_and_streams"],
    ),
    row(
        "flood-address",
        "more connections than an address may have",
        now!(floods::address),
        &["an_address_has_a_limit_of_unauthenticated_connections"],
    ),
    row(
        "forged-address",
        "an address of one's own choice, in the headers of proxies",
        How::ByTests,
        &[
            "a_forged_address_from_an_untrusted_peer_has_no_effect",
            "no_text_of_a_client_changes_the_address_that_its_proxy_appends",
            "with_the_proxy_protocol_only_trusted_proxies_may_connect",
            "clients_behind_a_proxy_have_requests_at_a_time_of_their_own",
            "clients_behind_a_proxy_have_anonymous_rates_of_their_own",
        ],
    ),
    row(
        "proxy-header",
        "a header of the PROXY protocol that is garbage, too long, cut off or late",
        How::ByTests,
        &[
            "a_bad_header_closes_its_connection_and_nothing_else",
            "any_bytes_are_a_header_or_a_fault_and_stay_so",
            "a_header_that_does_not_arrive_times_out",
        ],
    ),
    row("flood-refused", "requests that are refused, and pings, as fast as they go", now!(floods::refused), &[]),
    row(
        "flood-before-hello",
        "requests on websockets without a token, whose answers are not read",
        flood!(attacks::before_hello),
        &["a_client_that_does_not_say_hello_is_soon_closed", "a_client_that_has_not_said_hello_may_send_little"],
    ),
    row("flood-pings", "pings whose pongs are not read", flood!(attacks::pings), &[]),
    row(
        "flood-equal",
        "very many equal commands in JSON, from a user who may not write",
        flood!(attacks::equal_commands),
        &["rejected_commands_count_for_the_rate"],
    ),
    row("flood-bodies", "bodies of requests with a bad token", flood!(attacks::bodies), &[]),
    row(
        "flood-anonymous",
        "documents for everybody, as fast as they come",
        flood!(attacks::documents),
        &["an_address_without_a_token_has_a_rate_of_requests_and_of_bytes"],
    ),
    row(
        "flood-pictures",
        "pictures and JSON of large chunks, as fast as they come",
        flood!(attacks::pictures),
        &[
            "pictures_and_json_cost_their_user_what_they_cost",
            "users_get_permits_in_turn_and_dropped_requests_get_none",
        ],
    ),
    row(
        "flood-descriptors",
        "more connections than the process may open files",
        flood!(attacks::descriptors),
        &["connections_leave_a_reserve_or_do_not_fit", "a_flood_of_strangers_makes_room_for_others"],
    ),
    row(
        "flood-replicas",
        "tracking more large chunks than a gateway has memory for",
        flood!(attacks::replicas),
        &["the_memory_of_replicas_is_bounded_and_a_track_without_room_is_rejected"],
    ),
    row(
        "flood-dirty",
        "small commands to more large chunks than a replayer has memory for",
        flood!(attacks::dirty),
        &[
            "a_command_costs_the_content_that_it_wakes",
            "the_memory_of_chunks_is_bounded_however_many_chunks_are_touched",
        ],
    ),
    row(
        "flood-refresh",
        "Refresh of a large chunk, as fast as it goes",
        flood!(attacks::refreshes),
        &[
            "a_user_over_its_rate_is_throttled_and_loses_no_request",
            "answers_count_for_their_user_by_their_bytes_and_updates_do_not",
        ],
    ),
    row(
        "flood-admissions",
        "websockets that say Hello and are gone, as fast as they open",
        flood!(attacks::admissions),
        &["an_address_that_opens_sockets_as_fast_as_it_can_keeps_nobody_out"],
    ),
    row(
        "flood-loads",
        "one user's Track of very many chunks that are not in memory",
        flood!(attacks::loads),
        &[
            "a_load_that_ends_makes_room_for_the_next_one_without_a_tick",
            "a_user_with_all_the_memory_gives_half_of_it_up_for_another_one",
        ],
    ),
    row(
        "flood-partial",
        "messages whose last byte does not come",
        flood!(attacks::partial),
        &["incomplete_messages_of_all_connections_have_one_budget"],
    ),
    row(
        "flood-unread",
        "answers that very many sockets do not read",
        flood!(attacks::unread),
        &["r9_queues_of_all_sockets_together_have_a_budget"],
    ),
    row("flood-bytes", "long commands, with updates and receipts that are not read", flood!(attacks::bytes), &[]),
    row("flood-receipts", "small commands, with receipts that are not read", flood!(attacks::receipts), &[]),
    row(
        "flood-streams",
        "event streams that are not read",
        flood!(attacks::streams),
        &["a_reader_that_takes_no_bytes_is_cut_off_and_frees_its_place"],
    ),
    row(
        "chunk-explosion",
        "tracking very many chunks that nobody has seen",
        now!(floods::chunks),
        &[
            "an_idle_replica_is_dropped_after_a_while_and_nothing_leaks",
            "an_untracked_chunk_is_kept_until_the_view_has_its_ref",
        ],
    ),
    row(
        "chunk-ids",
        "ids out of bounds, too long, with line ends, paths",
        now!(http::chunk_ids),
        &["a_chunk_id_is_taken_from_the_front_of_a_path"],
    ),
    row(
        "session-flood",
        "very many sessions that push others out of a chunk's ledger",
        now!(writers::session_flood),
        &["r8_an_evicted_writer_is_never_decided_again", "a_session_is_taken_back_within_its_time"],
    ),
    row(
        "hash-flood",
        "keys that all hash alike",
        now!(inside::hash_flood),
        &["fast_hashes_are_for_keys_that_the_server_chose"],
    ),
    row(
        "log-injection",
        "line ends and escapes in all that is sent",
        now!(http::log_injection),
        &["a_message_is_cut_at_a_character", "a_refused_token_is_logged_with_who_where_and_why_and_without_the_token"],
    ),
    row(
        "header-smuggling",
        "two lengths, length and chunks, folded headers, bare line ends",
        now!(http::smuggling),
        &["an_oversized_head_gets_a_problem_document"],
    ),
    row(
        "cross-site",
        "a page of another origin: websocket, HTTP, cookies",
        now!(http::cross_site),
        &["pages_of_the_same_origin_and_of_this_machine_may_ask"],
    ),
    row(
        "plain-text",
        "plain text on an address that strangers reach",
        now!(inside::plain_text),
        &["plain_text_is_for_loopback_only_unless_insecure_is_set"],
    ),
    row(
        "poison-records",
        "records in `commands` that nobody can decode",
        How::ByTests,
        &[
            "r9_what_cannot_be_read_is_copied_with_its_origin_and_the_rest_goes_on",
            "r9_an_undecodable_command_waits_for_its_turn_and_blocks_nobody",
        ],
    ),
    row(
        "model-faults",
        "a command on which a model panics or never comes back",
        How::ByTests,
        &[
            "a_model_that_fails_costs_its_command_and_nothing_else",
            "r2_a_command_that_is_never_decided_is_discarded_by_the_next_owner",
            "r2_a_command_whose_content_is_never_encoded_is_found_among_others",
        ],
    ),
];
