//! A grant ends on time with every other part dead: the deadline lies in the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulkhead_tests::lab::endpoint::now;

use crate::granted::{LATE, PERMANENT, Streams, after, before, expect_over, grant, start};

/// From the opening of the streams on; everything has to be in force, killed and flowing by then.
const GRANTED_FOR: Duration = Duration::from_secs(4);

/// Whole seconds, as people write them.
fn in_seconds(until: SystemTime) -> i64 {
    i64::try_from(until.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn a_grant_ends_on_time_in_the_kernel_alone_beside_a_permanent_port_of_the_same_rule_set() {
    let mut world = start().unwrap();
    expect_over(&world).unwrap();

    // Both clocks at one moment: deadlines are of the wall clock, records of the monotonic one.
    let (wall, monotonic) = (SystemTime::now(), now());
    let until = in_seconds(wall + GRANTED_FOR);
    let ahead = UNIX_EPOCH + Duration::from_secs(u64::try_from(until).unwrap());
    let deadline = after(monotonic, ahead.duration_since(wall).unwrap());
    let until = jiff::Timestamp::from_second(until).unwrap().to_string();
    world
        .enforce("grant.json", &grant("expiresAt", &until))
        .unwrap();
    let streams = Streams::open(&world, 500).unwrap();
    world.product.kill_controller().unwrap();
    for node in world.lab.plan().nodes().to_vec() {
        world.product.kill_agent(node).unwrap();
    }
    streams.expect_flowing(&world).unwrap();
    assert!(now() < deadline, "the machine is too busy for this test");

    streams.expect_end(&world, before(deadline, LATE), deadline);
    world
        .expect_reached("shop/web", "shop/db", PERMANENT)
        .unwrap();
}
