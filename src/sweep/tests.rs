use std::path::{Path, PathBuf};
use std::time::Duration;

use super::order::{Order, Shard};
use super::*;
use crate::backend::cpu;
use crate::budget::CostModel;
use crate::environment::Platform;
use crate::environment::tests::a_gpu;
use crate::flipped_bits::check_flips;
use crate::null_backend::{Null, sweep_plan, time};
use crate::record::Session;

mod pace;

fn plan() -> SweepPlan {
    sweep_plan(5, Shard::new(3, 200).unwrap(), Platform::new(&Null(|_| Ok(1.0))))
}

fn session() -> Session {
    Session::now(time(1.0), None)
}

fn open(folder: &Path, plan: SweepPlan) -> Result<Sweep, SweepError> {
    Sweep::open(folder, plan, session(), Duration::from_secs(10))
}

fn points(folder: &Path) -> Vec<SweepPoint> {
    let mut points = Vec::new();
    SweepFolder::open(folder).unwrap().read(|point| points.push(point)).unwrap();
    points
}

#[test]
fn a_sweep_visits_its_shard_once_and_says_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut prepared = 0;
    let mut backend = Null(|_| {
        prepared += 1;
        Ok(1.0)
    });
    let mut sweep = open(folder.path(), plan()).unwrap();
    assert_eq!(sweep.measure(&mut backend, &mut |_| {}).unwrap(), SweepStatus::Finished);
    let points = points(folder.path());
    assert_eq!(points.len() as u32, plan().configurations());
    let positions: Vec<u32> = points.iter().map(|point| point.position).collect();
    assert!(positions.windows(2).all(|pair| pair[1] == pair[0] + 200), "{positions:?}");
    let counts = sweep.counts();
    assert_eq!(counts.visited(), points.len() as u64);
    // three more are verified
    assert_eq!(counts.measured + 3, prepared);
    assert!(counts.skipped["memory"] > 0 && counts.unvisited == 0);
    drop(sweep);
    // the same command once more has nothing to do
    let mut again = open(folder.path(), plan()).unwrap();
    let mut idle = Null(|shape| panic!("{shape} is prepared"));
    assert_eq!(again.measure(&mut idle, &mut |_| {}).unwrap(), SweepStatus::Finished);
}

#[test]
fn another_plan_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), plan()).unwrap());
    let mut other = plan();
    other.seed = 6;
    other.platform.device = "another".to_owned();
    let Err(error) = open(folder.path(), other) else { panic!("taken up") };
    let error = error.to_string();
    assert!(error.contains("holds another sweep: ") && error.contains("seed is 5 there, 6 here"));
    assert!(error.contains("another here") && !error.contains("protocol"), "{error}");
    let held = open(folder.path(), plan()).unwrap();
    let Err(error) = open(folder.path(), plan()) else { panic!("shared") };
    assert!(matches!(error, SweepError::Locked { .. }), "{error}");
    drop(held);
}

#[test]
fn a_sweep_that_another_one_does_not_continue_is_named_with_what_differs() {
    let runs = tempfile::tempdir().unwrap();
    let path = runs.path().join("sweep-0123");
    let mut sweep = open(&path, plan()).unwrap();
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    let mut other = plan();
    other.budget = Some(Duration::from_secs(9));
    let passed_over = |why_cpu| passed_over::passed_over(runs.path(), &other, why_cpu);
    // as long as another process works on it, there is nothing to continue
    assert_eq!(passed_over(None).unwrap(), None);
    drop(sweep);
    let found = passed_over(Some("no driver")).unwrap().unwrap();
    assert_eq!(
        (found.path, found.why),
        (path.clone(), vec!["budget: there none, now 9 s".to_owned()])
    );
    let mut header: SweepHeader = crate::store::read_header(&path).unwrap();
    header.plan.platform.gpu = Some(a_gpu());
    crate::store::write_header(&path, &header).unwrap();
    let gone = passed_over(Some("no driver")).unwrap_err();
    assert!(gone.to_string().contains("measured on a card, which is gone: no driver"), "{gone}");
}

#[test]
fn another_machine_of_the_kind_continues_and_each_configuration_says_which_measured_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.platform.pinned_cores = Some(vec![0]);
    let mut launched = 0;
    let mut dies = Null(|_| {
        launched += 1;
        assert!(launched < 100, "preempted");
        Ok(1.0)
    });
    let mut first = Sweep::open(folder.path(), plan.clone(), session(), Duration::ZERO).unwrap();
    let preempted = std::panic::AssertUnwindSafe(|| first.measure(&mut dies, &mut |_| {}));
    assert!(std::panic::catch_unwind(preempted).is_err());
    drop(first);
    let mut other = plan.clone();
    other.platform.pinned_cores = Some(vec![5]);
    other.platform.kernel = "another".to_owned();
    other.platform.memory = Bytes(1);
    let mut second = open(folder.path(), other.clone()).unwrap();
    second.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    let sessions = &second.header().sessions;
    assert_eq!([&sessions[0].platform, &sessions[1].platform], [&plan.platform, &other.platform]);
    assert!(!sessions[0].host.is_empty());
    let by: Vec<u32> = points(folder.path()).iter().map(|point| point.session).collect();
    let of_the_first = by.iter().filter(|session| **session == 0).count();
    assert!(of_the_first >= 96 && by.is_sorted() && by.last() == Some(&1), "{by:?}");
    drop(second);
    other.platform.pinned_cores = None;
    let Err(error) = open(folder.path(), other) else { panic!("taken up") };
    assert!(error.to_string().contains("pinned is true there, false here;"), "{error}");
}

#[test]
fn a_sweep_of_an_older_schema_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut sweep = open(folder.path(), plan()).unwrap();
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    drop(sweep);
    let header = folder.path().join("sweep.json");
    let text = std::fs::read_to_string(&header).unwrap();
    let old = text.replace("\"schema_version\": 2", "\"schema_version\": 1");
    let old = old.replace("checksum", "none yet");
    assert_ne!(old, text);
    std::fs::write(&header, &old).unwrap();
    let parts = std::fs::read_dir(folder.path().join("parts")).unwrap().count();
    let Err(continued) = open(folder.path(), plan()) else { panic!("continued") };
    let Err(read) = SweepFolder::open(folder.path()) else { panic!("read") };
    for error in [continued.to_string(), read.to_string()] {
        assert!(error.contains("sweep.json: schema_version is 1, expected 2: "), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&header).unwrap(), old);
    assert_eq!(std::fs::read_dir(folder.path().join("parts")).unwrap().count(), parts);
}

#[test]
fn a_configuration_that_ended_three_processes_is_given_up_and_the_rest_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.memory_limit = None;
    let deadly = plan.grid.shape(Order::new(plan.grid, plan.seed).index(plan.shard.position(20)));
    let crashes = || {
        let mut sweep = open(folder.path(), plan.clone()).unwrap();
        let mut backend = Null(|shape| {
            assert_ne!(shape, deadly, "crashed");
            Ok(1.0)
        });
        let measured = std::panic::AssertUnwindSafe(|| sweep.measure(&mut backend, &mut |_| {}));
        std::panic::catch_unwind(measured).is_err()
    };
    assert_eq!([(); 4].map(|()| crashes()), [true, true, true, false]);
    let points = points(folder.path());
    assert_eq!(points.len() as u32, plan.configurations());
    for (ordinal, SweepPoint { shape, outcome, .. }) in points.into_iter().enumerate() {
        match outcome {
            PointOutcome::Failed { detail } => {
                assert_eq!((ordinal, shape), (20, deadly));
                assert!(detail.contains("3 processes ended while they measured it"), "{detail}");
            }
            outcome => assert!(matches!(outcome, PointOutcome::Measured { .. }), "{outcome:?}"),
        }
    }
}

#[test]
fn a_damaged_part_is_set_aside_and_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.memory_limit = None;
    let every = Duration::ZERO;
    let mut sweep = Sweep::open(folder.path(), plan.clone(), session(), every).unwrap();
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    drop(sweep);
    let part = folder.path().join("parts/0000010-0000010.parquet");
    std::fs::write(&part, "cut").unwrap();
    let sweep = open(folder.path(), plan.clone()).unwrap();
    assert_eq!(sweep.damaged.len(), 1, "{:?}", sweep.damaged);
    drop(sweep);
    // as if killed there: whoever comes next sees that something is missing
    let mut sweep = open(folder.path(), plan.clone()).unwrap();
    assert_eq!(sweep.header().status, SweepStatus::Unfinished);
    let mut prepared = 0;
    let mut backend = Null(|_| {
        prepared += 1;
        Ok(1.0)
    });
    sweep.measure(&mut backend, &mut |_| {}).unwrap();
    assert_eq!(prepared, 1 + 3);
    assert_eq!(points(folder.path()).len() as u32, plan.configurations());
}

#[test]
fn a_flipped_bit_changes_no_sweep_unnoticed_and_its_part_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let plan = sweep_plan(5, Shard::new(3, 9000).unwrap(), Platform::new(&Null(|_| Ok(1.0))));
    let mut sweep = open(folder.path(), plan.clone()).unwrap();
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    drop(sweep);
    let read = || {
        let mut all = Vec::new();
        let sweep = SweepFolder::open(folder.path()).map_err(|error| error.to_string())?;
        sweep.read(|point| all.push(point)).map_err(|error| error.to_string())?;
        Ok((sweep.header, all))
    };
    let parts = crate::store::entries(&folder.path().join("parts")).unwrap();
    let [part] = parts.as_slice() else { panic!("{parts:?}") };
    check_flips(part, 1000, read);
    check_flips(&folder.path().join("sweep.json"), 300, read);
    let expected = read().unwrap().1;
    let mut bytes = std::fs::read(part).unwrap();
    bytes[40] ^= 1;
    std::fs::write(part, bytes).unwrap();
    let mut sweep = open(folder.path(), plan).unwrap();
    assert!(sweep.damaged.concat().contains("its checksum is "), "{:?}", sweep.damaged);
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    assert_eq!(read().unwrap().1.len(), expected.len());
}

#[test]
fn parts_of_other_contents_are_set_aside_and_names_beyond_the_grid_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.memory_limit = None;
    let mut sweep = Sweep::open(folder.path(), plan.clone(), session(), Duration::ZERO).unwrap();
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    let sweep_id = sweep.header().sweep_id.clone();
    drop(sweep);
    let sound = points(folder.path()).swap_remove(10);
    let damaged_by = |change: &dyn Fn(&mut SweepPoint)| {
        let mut point = sound.clone();
        change(&mut point);
        store::write_part(folder.path(), &sweep_id, 10, &[point]).unwrap();
        let mut sweep = open(folder.path(), plan.clone()).unwrap();
        let damaged = sweep.damaged.concat();
        sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
        damaged
    };
    assert_eq!(damaged_by(&|_| {}), "");
    let foreign = damaged_by(&|point| point.shape = "h=3_w=5_in=7_out=9_k=64".parse().unwrap());
    assert!(foreign.contains("is h=3_w=5_in=7_out=9_k=64, expected h="), "{foreign}");
    let ages = damaged_by(&|point| point.wall_s = 1.2e19);
    assert!(ages.contains("wall_s is 12000000000000000000, expected 0 to"), "{ages}");
    let few = damaged_by(&|point| match &mut point.outcome {
        PointOutcome::Measured { launches, .. } => *launches /= 2,
        other => panic!("{other:?}"),
    });
    assert!(few.contains("launches, expected"), "{few}");
    assert_eq!(points(folder.path()).len() as u32, plan.configurations());

    std::fs::write(folder.path().join("parts/0000045-4294967294.parquet"), "").unwrap();
    let Err(continued) = open(folder.path(), plan.clone()) else { panic!("continued") };
    let read = SweepFolder::open(folder.path()).unwrap().read(|_| {}).unwrap_err();
    for error in [continued.to_string(), read.to_string()] {
        let expected = format!("not named as parts of a sweep of {}", plan.configurations());
        assert!(error.contains("4294967294.parquet") && error.contains(&expected), "{error}");
    }
}

#[test]
fn what_others_keep_in_the_folder_of_a_sweep_stays() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    let others =
        ["thesis.tmp", ".thesis.csv.tmp", "parts/draft.tmp"].map(|n| folder.path().join(n));
    let left_by_us = ["parts/.0000000-0000411.parquet.4711-0.tmp", ".sweep.json.4711-3.tmp"];
    for path in others.iter().cloned().chain(left_by_us.map(|name| folder.path().join(name))) {
        std::fs::write(path, "the only copy").unwrap();
    }
    drop(open(folder.path(), plan()).unwrap());
    for path in &others {
        assert_eq!(std::fs::read(path).unwrap(), b"the only copy", "{}", path.display());
    }
    for name in left_by_us {
        assert!(!folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_mark_that_no_sweep_has_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("at");
    std::fs::write(&mark, "3 o'clock").unwrap();
    let Err(error) = open(folder.path(), plan()) else { panic!("begun over another file") };
    assert!(error.to_string().contains("at: it is not of a sweep"), "{error}");
    assert_eq!(std::fs::read(&mark).unwrap(), b"3 o'clock");
}

#[cfg(unix)]
#[test]
fn links_in_the_folder_of_a_sweep_are_refused_and_what_they_point_to_stays() {
    use std::os::unix::fs::symlink;
    for name in ["lock", "at", "parts", "sweep.json"] {
        let directory = tempfile::tempdir().unwrap();
        let (folder, victim) = (directory.path().join("sweep"), directory.path().join("victim"));
        std::fs::create_dir(&folder).unwrap();
        match name {
            "parts" => std::fs::create_dir(&victim).unwrap(),
            "sweep.json" => {}
            _ => std::fs::write(&victim, "do not lose me").unwrap(),
        }
        let before = std::fs::read(&victim).ok();
        symlink("../victim", folder.join(name)).unwrap();
        let Err(error) = open(&folder, plan()) else { panic!("{name} was followed") };
        let error = error.to_string();
        assert!(error.contains(name) && error.contains("a link"), "{error}");
        assert_eq!(std::fs::read(&victim).ok(), before, "{name}");
        assert!(folder.join(name).is_symlink(), "{name}");
    }
}

#[test]
fn the_longest_configurations_do_not_eat_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.budget = Some(Duration::from_secs(1000));
    plan.memory_limit = None;
    // many are above a hundredth of the budget, which is 10 s
    let model = CostModel::for_sweep(&cpu::KIND);
    let mut backend = Null(|shape| Ok(1.0 + model.cost(shape)));
    let mut sweep = open(folder.path(), plan).unwrap();
    assert_eq!(sweep.measure(&mut backend, &mut |_| {}).unwrap(), SweepStatus::Finished);
    let (mut measured, mut skipped) = (0, 0);
    for point in points(folder.path()) {
        let takes_s = model.cost(point.shape) * 60.0 / 1e9;
        match point.outcome {
            PointOutcome::Measured { .. } => {
                // the first launch, once over, is not expected any more
                assert!(takes_s <= 10.2, "{takes_s}");
                measured += 1;
            }
            PointOutcome::Skipped { reason: Skip::Budget, .. } => {
                // by what others of the size took, or by its first launch
                assert!(takes_s > 2.5, "{takes_s}");
                skipped += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(measured > 100 && skipped > 100, "{measured}, {skipped}");
}

#[test]
fn a_used_up_budget_ends_the_sweep_and_counts_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.budget = Some(Duration::from_millis(3));
    plan.shard = Shard::ALL;
    let mut sweep = open(folder.path(), plan.clone()).unwrap();
    assert_eq!(
        sweep.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap(),
        SweepStatus::BudgetUsed
    );
    let counts = sweep.header().counts.clone().unwrap();
    assert!(counts.unvisited > 0);
    assert_eq!(counts.visited() + counts.unvisited, u64::from(plan.configurations()));
    drop(sweep);
    let mut again = open(folder.path(), plan).unwrap();
    assert_eq!(
        again.measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap(),
        SweepStatus::BudgetUsed
    );
}

#[test]
fn shards_merge_only_if_all_are_there_once_and_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: u32| folder.path().join(format!("shard-{number}"));
    for number in 1..=3 {
        let mut plan = plan();
        plan.shard = Shard::new(number, 3).unwrap();
        plan.budget = Some(Duration::from_millis(20));
        open(&path(number), plan).unwrap().measure(&mut Null(|_| Ok(1.0)), &mut |_| {}).unwrap();
    }
    let all: Vec<PathBuf> = (1..=3).map(path).collect();
    let out = folder.path().join("merged");
    let refused = |folders: &[PathBuf]| merge::merge(folders, &out).unwrap_err().to_string();
    assert_eq!(refused(&all[..1]), "cannot merge: shards 2/3, 3/3 missing");
    let twice = [all[0].clone(), all[1].clone(), all[1].clone(), all[2].clone()];
    assert!(refused(&twice).contains("shard 2/3 is both in"));
    let header = merge::merge(&all, &out).unwrap();
    let each: Vec<SweepPoint> = all.iter().flat_map(|path| points(path)).collect();
    let of_its_shard = |point| SweepPoint { session: 0, ..point };
    assert_eq!(points(&out).into_iter().map(of_its_shard).collect::<Vec<_>>(), each);
    let measured_by = |point: &SweepPoint| header.sessions[point.session as usize].clone();
    for point in points(&out) {
        let shard = &header.shards[point.position as usize % 3];
        assert_eq!(measured_by(&point), shard.sessions[0]);
    }
    assert_eq!(header.counts.unwrap().visited(), each.len() as u64);
    assert!(refused(&all).contains("is there already"));
    let mut other = plan();
    (other.shard, other.seed) = (Shard::new(3, 3).unwrap(), 6);
    other.budget = Some(Duration::from_millis(20));
    drop(open(&path(4), other).unwrap());
    let refused = refused(&[all[0].clone(), all[1].clone(), path(4)]);
    assert!(refused.contains("differ: seed `5` against `6`"), "{refused}");
    let Err(error) = open(&out, plan()) else { panic!("continued a merged sweep") };
    assert!(error.to_string().contains("is merged from shards"), "{error}");
}
