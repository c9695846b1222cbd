//! Policies with dates.

use super::fixture::*;
use crate::eval::next_boundary;
use crate::model::*;
use Expected::*;

fn grant(from: Option<i64>, until: Option<i64>) -> Policy {
    Policy {
        active_from: from.map(Timestamp),
        expires_at: until.map(Timestamp),
        ..tenant("bank/grant", &[]).ingress(allow(Peers::Any, Ports::Any))
    }
}

fn closed() -> Fixture {
    Fixture::shop_and_bank().policy(upstream("bank/closed", &[], &[Direction::Ingress]))
}

#[test]
fn a_grant_begins_and_ends_on_time() {
    let world = closed().policy(grant(Some(2000), Some(3000)));
    for (now, expected) in [
        (1999, Denied),
        (2000, Allowed),
        (2999, Allowed),
        (3000, Denied),
    ] {
        check_at(
            &world,
            world.flow("shop/web", "bank/db", tcp(80)),
            Timestamp(now),
            expected,
        );
    }
}

#[test]
fn a_restriction_has_dates_too() {
    let world = Fixture::shop_and_bank().policy(Policy {
        active_from: Some(Timestamp(2000)),
        expires_at: Some(Timestamp(3000)),
        ..upstream("bank/closed", &[], &[Direction::Ingress])
    });
    for (now, expected) in [(1999, Allowed), (2000, Denied), (3000, Allowed)] {
        check_at(
            &world,
            world.flow("shop/web", "bank/db", tcp(80)),
            Timestamp(now),
            expected,
        );
    }
}

#[test]
fn the_next_change_is_known_beforehand() {
    let world = closed().policy(grant(Some(2000), Some(3000)));
    for (now, next) in [
        (0, Some(2000)),
        (1999, Some(2000)),
        (2000, Some(3000)),
        (2999, Some(3000)),
        (3000, None),
    ] {
        assert_eq!(
            next_boundary(&world.0, Timestamp(now)),
            next.map(Timestamp),
            "at {now}"
        );
    }
}
