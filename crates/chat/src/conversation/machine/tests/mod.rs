//! Every promise about turns, against every order of events that a generator can think of: deliveries, repeats, branches,
//! cancels, deletions, crashes in the middle of anything, answers that are lost.

mod sample;
mod world;

use proptest::prelude::*;

use world::World;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Send(u8, usize),
    Deliver,
    End(usize, u8),
    Cancel(usize, bool, bool),
    Crash(usize, bool),
    Drain,
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), any::<usize>()).prop_map(|(kind, what)| Step::Send(kind, what)),
        6 => Just(Step::Deliver),
        20 => (any::<usize>(), any::<u8>()).prop_map(|(which, luck)| Step::End(which, luck)),
        2 => any::<(usize, bool, bool)>().prop_map(|(what, lost, slow)| Step::Cancel(what, lost, slow)),
        2 => any::<(usize, bool)>().prop_map(|(done, alone)| Step::Crash(done, alone)),
        1 => Just(Step::Drain),
    ]
}

fn run(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        match *step {
            Step::Send(kind, what) => world.send(kind, what),
            Step::Deliver => drop(world.deliver()),
            Step::End(which, luck) => drop(world.end_one(which, luck)),
            Step::Cancel(what, lost, slow) => world.cancel(what, lost, slow),
            Step::Crash(done, alone) => world.crash(done, alone),
            Step::Drain => world.drain(),
            Step::Delete => world.delete(),
        }
    }
    world.settle();
    world.is_at_rest();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_in_every_order_of_events(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps);
    }

    #[test]
    fn the_promises_hold_for_a_conversation_that_is_deleted(
        mut steps in prop::collection::vec(step(), 1..80),
        when in any::<prop::sample::Index>(),
    ) {
        let place = when.index(steps.len());
        steps.insert(place, Step::Delete);
        run(&steps);
    }
}
