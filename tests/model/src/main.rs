use driftless_model_tests::explore::explore;
use driftless_model_tests::ownership::{Bounds, Ownership, mutant::Mutant};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let chunk_of: Vec<u8> = a[1].bytes().map(|b| b - b'0').collect();
    let n = |i: usize| a[i].parse::<u8>().unwrap();
    let b = Bounds { in_flight: n(3), losses: n(4), snapshots: n(5), is_frozen_early: n(6)&2==2, is_flush_split: n(6)&1==1, has_blind_acks: n(7)==1, views: n(8), cuts: n(9), ..Bounds::plain(&chunk_of, n(2)) };
    use Mutant::*;
    let m = match a.get(10).map(|s| s.as_str()) { None => None, Some(x) => [LowWithoutEpoch,LowWithNewestEpoch,NoNumbers,ProduceAgain,AcknowledgedOutOfOrder,DirtyByVersion,TrimByVersion,ResumeByVersion,LoadWhileTrimmed,ReopenIndex,OpenAfterFence,NoFence,ReadToEnd,RefBeforeAck,NextBeforeAck,EpochNotDurable,SkipByPartition,SilentReset,IndexWithoutFence,BoundAfterRecord].into_iter().find(|m| format!("{m:?}")==x) };
    let e = explore(Ownership::new(b, m), if m.is_some() {1} else {2}, |s| if s / 1000000 % 5 == 0 {eprint!("{s} ")});
    println!("{m:?} states {} steps {} depth {} took {:?} absent {:?} viol {:?}", e.states, e.steps, e.depth, e.took, e.absent, e.violation.map(|v| (v.property, v.trace.len(), v.trace)));
}
