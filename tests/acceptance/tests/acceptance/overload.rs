//! When there are more requests than places.

use std::time::Duration;

use acceptance::World;

#[tokio::test]
async fn a_withdrawal_is_taken_while_no_question_is() {
    let world = World::with_settings(|settings| settings.limits.requests_max = 1).await;
    let given = world.send(world.consent("FAULT-PAUSING")).await;
    let path = format!("/v1/consents/{}/withdraw", given.body["id"].as_str().unwrap());
    let asked = world.asked["council"].asked().len();
    let meanwhile = async {
        while world.asked["council"].asked().len() == asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let question = world.send(world.prevention("9732110317")).await;
        let withdrawal = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
        (question, withdrawal)
    };
    let (first, (second, withdrawal)) = tokio::join!(world.send(world.referral("FAULT-PAUSING")), meanwhile);
    assert_eq!((second.status.as_u16(), second.code()), (503, "overloaded"), "{second:?}");
    assert_eq!(withdrawal.status, 200, "{withdrawal:?}");
    assert_eq!((first.status.as_u16(), first.code()), (404, "no-record-available"), "it counted at once");
    world.verify().await;
}
