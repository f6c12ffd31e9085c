//! What an agreement's steps say afterwards, and how they are read.

use super::*;

#[tokio::test]
async fn steps_are_read_a_page_at_a_time_from_either_end() {
    let world = World::new().await;
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    for title in ["one", "two", "three"] {
        let mut terms = terms();
        terms["title"] = json!(title);
        taken(&world, "nhs", author, json!({ "step": "revise", "terms": terms })).await;
    }
    let page = async |query: &str| {
        let path = format!("/v1/agreements/pilot/steps?{query}");
        let answer = world.send(by(world.bare("nhs", "GET", &path, PURPOSE), lead)).await;
        let steps = answer.body["steps"].as_array().cloned().unwrap_or_default();
        let revisions: Vec<_> = steps.iter().filter_map(|step| step["revision"].as_i64()).collect();
        (revisions, answer.body["next"].as_str().map(str::to_owned))
    };
    assert_eq!(page("limit=3").await, (vec![1, 2, 3], Some("3".to_owned())));
    assert_eq!(page("limit=3&cursor=3").await, (vec![4], None));
    assert_eq!(page("order=newest&limit=3").await, (vec![4, 3, 2], Some("2".to_owned())));
    assert_eq!(page("order=newest&cursor=2").await, (vec![1], None));
    let path = "/v1/agreements/pilot/steps?limit=501";
    let refused = world.send(by(world.bare("nhs", "GET", path, PURPOSE), lead)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "invalid-request"));
}
