use driftless_model_tests::explore::explore;
use driftless_model_tests::ownership::{Bounds, Ownership, mutant::Mutant};
fn main() {
    if std::env::args().nth(1).as_deref() == Some("w") { return writer(); }
    let a: Vec<String> = std::env::args().collect();
    let chunk_of: Vec<u8> = a[1].bytes().map(|b| b - b'0').collect();
    let n = |i: usize| a[i].parse::<u8>().unwrap();
    let b = Bounds { in_flight: n(3), losses: n(4), snapshots: n(5), is_frozen_early: n(6)&2==2, is_flush_split: n(6)&1==1, has_blind_acks: n(7)==1, views: n(8), cuts: n(9), ..Bounds::plain(&chunk_of, n(2)) };
    use Mutant::*;
    let m = match a.get(10).map(|s| s.as_str()) { None => None, Some(x) => [LowWithoutEpoch,LowWithNewestEpoch,NoNumbers,ProduceAgain,AcknowledgedOutOfOrder,DirtyByVersion,TrimByVersion,ResumeByVersion,LoadWhileTrimmed,ReopenIndex,OpenAfterFence,NoFence,ReadToEnd,RefBeforeAck,NextBeforeAck,EpochNotDurable,SkipByPartition,SilentReset,IndexWithoutFence,BoundAfterRecord].into_iter().find(|m| format!("{m:?}")==x) };
    let e = explore(Ownership::new(b, m), if m.is_some() {1} else {2}, |s| if s / 1000000 % 5 == 0 {eprint!("{s} ")});
    println!("{m:?} states {} steps {} depth {} took {:?} absent {:?} viol {:?}", e.states, e.steps, e.depth, e.took, e.absent, e.violation.map(|v| (v.property, v.trace.len(), v.trace)));
}

fn writer() {
    use driftless_model_tests::writer::{Bounds, Writing, mutant::Mutant};
    use Mutant::*;
    let a: Vec<String> = std::env::args().collect();
    // w commands resends cancels reconnects doubles retryable finals others ledger window tracks [mutant]
    let n = |i: usize| a[i].parse::<u8>().unwrap();
    let others = a[9].split(',').filter_map(|x| x.parse().ok()).collect();
    let b = Bounds { cancels: n(4), reconnects: n(5), doubles: n(6), retryable: n(7), finals: n(8), others, ledger_writers: n(10), window: n(11), tracks: n(12), ..Bounds::plain(n(2), n(3)) };
    let m = match a.get(13).map(|s| s.as_str()) { None => None, Some(x) => [HoldAtIngest,SettleInWindow,ReceiptedNotResent,ResentOnReconnectOnly,UndecodableAnyOrder,AfterEquals,ReuseNumber,RejectedResendIsFinal,TimeoutIsRejection,WithdrawnAtOnce,EvictWithoutFloor,FloorWithoutMax,ResolvedOlderThanVersion,OrderNotInRef,ResubmitOnTrackedExpired,WindowTooWide,SessionBelowFloor,SilentGap].into_iter().find(|m| format!("{m:?}")==x) };
    let e = explore(Writing::new(b, m), if m.is_some() {1} else {2}, |_| ());
    println!("{m:?} states {} steps {} depth {} took {:?} absent {:?} viol {:?}", e.states, e.steps, e.depth, e.took, e.absent, e.violation.map(|v| (v.property, v.trace.len(), v.trace)));
}
