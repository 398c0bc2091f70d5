//! What the board says after what the threads wrote on it.

use super::*;

#[test]
fn every_thread_turns_for_itself() {
    let board = Board::new("default.p", 2);
    let turns: [&dyn Fn(); 5] = [
        &|| board.control_turned(),
        &|| board.fold_turned(0),
        &|| board.commit_turned(0),
        &|| board.fold_turned(1),
        &|| board.commit_turned(1),
    ];
    board.turns.iter().for_each(|turn| turn.store(u64::MAX, Ordering::Relaxed));
    let unseen = || board.turns.iter().filter(|turn| turn.load(Ordering::Relaxed) == u64::MAX).count();
    for (index, turn) in turns.into_iter().enumerate() {
        turn();
        assert_eq!(unseen(), 4 - index, "one thread does not hide that another one hangs");
    }
}

#[test]
fn a_partition_that_is_read_and_not_fetched_is_told_until_it_is_fetched() {
    let board = Board::new("default.p", 1);
    board.enter(Phase::Running);
    board.assigned(&[3]);
    let start = Instant::now();
    let ends = |end| Ends { starts: [(3, 0)].into(), ends: [(3, end)].into() };
    let ask = |seconds, end| {
        board.asked(ends(end), start + Duration::from_secs(seconds));
        let status = board.status();
        let reasons: Vec<String> = status.problems.into_iter().map(|problem| problem.reason).collect();
        (status.available, status.lag, reasons.join(", "))
    };
    ask(0, 10);
    assert_eq!(ask(100, 10), (false, None, String::new()), "nobody expects fetches before it is taken over");
    board.shard(ShardReport::of(3));
    assert_eq!(ask(105, 10), (true, Some(10), String::new()));
    assert_eq!(ask(140, 25), (false, Some(25), "PartitionNotFetched".to_owned()));
    board.fetched(ends(25));
    assert_eq!(ask(145, 25), (true, Some(25), String::new()));

    ask(150, 30);
    board.stalled(3, "Trip", "stopped before offset 8");
    assert_eq!(ask(200, 40), (false, Some(40), "Trip".to_owned()), "its reason is told, and its lag is what it is");
    board.resumed(3);
    assert_eq!(ask(205, 50), (true, Some(50), String::new()));
    ask(210, 50);
    board.forget_partitions(&[3]);
    assert!(board.status().problems.is_empty() && board.first_offset(3).is_none());
}

#[test]
fn a_tick_that_becomes_visible_late_does_not_hide_that_its_partition_stopped() {
    let board = Board::new("default.p", 1);
    board.stalled(3, "Trip", "stopped before offset 8");
    board.committed(&Outputs::new(), vec![ShardReport::of(3)], Duration::ZERO);
    assert_eq!(board.status().partitions[0].state, PartitionState::Stalled);
    board.resumed(3);
    assert_eq!(board.status().partitions[0].state, PartitionState::Running);
}

#[test]
fn a_worker_is_available_only_once_every_owned_partition_is_taken_over() {
    let board = Board::new("default.p", 1);
    board.enter(Phase::Running);
    let seen = || {
        let status = board.status();
        let doing: Vec<_> = status.warming_up.iter().map(|(partition, stage)| (*partition, stage.doing)).collect();
        (status.available, doing)
    };
    board.assigned(&[0, 3]);
    assert_eq!(seen(), (false, vec![(0, "waiting"), (3, "waiting")]));
    board.shard(ShardReport::of(0));
    board.restoring(3, Stage { doing: "replaying", ..Stage::WAITING });
    assert_eq!(seen(), (false, vec![(3, "replaying")]));
    board.restored(3);
    assert_eq!(seen(), (false, vec![(3, "waiting")]), "brought back, and not with its lane yet");
    board.shard(ShardReport::of(3));
    assert_eq!(seen(), (true, vec![]));

    board.assigned(&[3]);
    // A tick of the former assignment becomes visible late.
    board.committed(&Outputs::new(), vec![ShardReport::of(3)], Duration::ZERO);
    assert_eq!(seen(), (false, vec![(3, "waiting")]), "started again");
    board.forget_partitions(&[3]);
    assert_eq!(seen(), (true, vec![]));
}

#[test]
fn a_lane_that_commits_does_not_hide_one_that_cannot() {
    let board = Board::new("default.p", 2);
    board.enter(Phase::Running);
    board.commit_trouble(1, "CommitAborted", "no coordinator");
    board.commit_is_well(0);
    assert!(board.status().available, "it may be over in a moment");
    board.commit_waits(1, Duration::from_secs(5));
    board.commit_is_well(0);
    let status = board.status();
    let reasons: Vec<&str> = status.problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!((status.available, reasons), (false, vec!["CommitAborted", "CommitWaits"]));
    board.commit_is_well(1);
    assert!(board.status().available && board.status().problems.is_empty());
}

#[test]
fn a_long_replay_is_a_problem_of_its_lane_until_it_is_well() {
    let board = Board::new("default.p", 2);
    board.replay_exceeds(1, 12.4, 10.0);
    let problems = board.status().problems;
    assert_eq!((problems.len(), problems[0].reason.as_str()), (1, "RecoveryTimeExceeded"));
    assert!(problems[0].message.contains("about 12 s") && problems[0].message.contains("(10 s)"), "{problems:?}");
    board.replay_is_well(0);
    assert_eq!(board.status().problems.len(), 1, "another lane");
    board.replay_is_well(1);
    assert!(board.status().problems.is_empty());
}
