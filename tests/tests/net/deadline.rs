//! A grant ends on time with every other part dead: the deadline lies in the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bulkhead_tests::lab::endpoint::now;
use serde_json::Value;

use crate::granted::{LATE, PERMANENT, Streams, after, before, expect_over, grant, start};
use crate::guarded::Guarded;

/// From the opening of the streams on; everything has to be in force, killed and flowing by then. A machine that is too busy for
/// that gets more.
const GRANTED_FOR: [Duration; 3] = [
    Duration::from_secs(4),
    Duration::from_secs(12),
    Duration::from_secs(36),
];

/// Whole seconds, as people write them.
fn in_seconds(until: SystemTime) -> i64 {
    i64::try_from(until.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn a_grant_ends_on_time_in_the_kernel_alone_beside_a_permanent_port_of_the_same_rule_set() {
    let in_time = GRANTED_FOR.into_iter().any(ends_on_time);
    assert!(in_time, "the machine is too busy for this test");
}

/// `false` if the end came before everything was ready for it.
fn ends_on_time(granted_for: Duration) -> bool {
    let mut world = start().unwrap();
    expect_over(&world).unwrap();

    // Both clocks at one moment: deadlines are of the wall clock, records of the monotonic one.
    let (wall, monotonic) = (SystemTime::now(), now());
    let until = in_seconds(wall + granted_for);
    let ahead = UNIX_EPOCH + Duration::from_secs(u64::try_from(until).unwrap());
    let deadline = after(monotonic, ahead.duration_since(wall).unwrap());
    let until = jiff::Timestamp::from_second(until).unwrap().to_string();
    let flowing = flow_alone(&mut world, &grant("expiresAt", &until));
    let streams = match flowing {
        Err(error) if now() < deadline => panic!("{error:?}"),
        Ok(streams) if now() < deadline => streams,
        Ok(_) => return false,
        Err(error) => {
            println!("not in time: {error:?}");
            return false;
        }
    };

    streams.expect_end(&world, before(deadline, LATE), deadline);
    world
        .expect_reached("shop/web", "shop/db", PERMANENT)
        .unwrap();
    true
}

/// Streams by the grant that go on when every part but the kernel's is dead.
fn flow_alone(world: &mut Guarded, grant: &Value) -> Result<Streams> {
    world.enforce("grant.json", grant)?;
    let streams = Streams::open(world, 500)?;
    world.product.kill_controller()?;
    for node in world.lab.plan().nodes().to_vec() {
        world.product.kill_agent(node)?;
    }
    streams.expect_flowing(world)?;
    Ok(streams)
}
