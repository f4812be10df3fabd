//! Whatever is sent, the answer says what is wrong with it.

use crate::exchange::{Answer, get, post, send};
use crate::orders::order;
use crate::program::Folder;

/// The refusal is a complete problem document whose detail contains `part`.
fn assert_problem(answer: &Answer, status: u16, part: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(answer.text("type"), "about:blank");
    assert_eq!(answer.body["status"], status);
    assert!(!answer.text("title").is_empty(), "{answer:?}");
    assert!(answer.text("detail").contains(part), "no {part:?} in {answer:?}");
}

#[test]
fn bad_requests_are_problems_that_say_what_is_wrong() {
    let folder = Folder::new();
    let mut service = folder.start(&["--limit", "0", "--broker", "memory:"]);
    let address = service.address();
    let sound = order(1, "11.77");
    let with = |from: &str, to: &str| {
        assert!(sound.contains(from), "{from}");
        sound.replace(from, to).into_bytes()
    };
    let latin = [with("\"user_id\": 1", "\"user_id\": \""), b"\xe9\"".to_vec()].concat();
    let padded = format!("{sound}{}", " ".repeat(64 * 1024)).into_bytes();
    let bodies: &[(u16, &str, Vec<u8>)] = &[
        (400, "not JSON", b"".to_vec()),
        (400, "not JSON", b"{\"order_id\": 1".to_vec()),
        (400, "not JSON", [sound.as_bytes(), b"x"].concat()),
        (400, "not UTF-8", latin),
        (422, "must be a JSON object", b"[1, 1, \"1997-01-01\", 1, \"1\"]".to_vec()),
        (422, "`total` is missing", b"{\"order_id\": 1}".to_vec()),
        (422, "duplicate field `units`", with("\"units\": 1", "\"units\": 1, \"units\": 2")),
        (422, "`order_id` must be", with("\"order_id\": 1", "\"order_id\": 0")),
        (422, "`order_id` must be", with("\"order_id\": 1", "\"order_id\": 9223372036854775808")),
        (422, "`user_id` must be", with("\"user_id\": 1", "\"user_id\": \"1\"")),
        (422, "`units` must be", with("\"units\": 1", "\"units\": -1")),
        (422, "`units` must be", with("\"units\": 1", "\"units\": 1.5")),
        (422, "`date` must be", with("1997-01-01", "1997-02-29")),
        (422, "`total` must have at most two", with("11.77", "11.777")),
        (422, "`total` must be an amount", with("11.77", "true")),
        (413, "larger than 65536 bytes", padded),
        (413, "larger than 65536 bytes", vec![b' '; 2_000_000]),
    ];
    for (status, part, body) in bodies {
        assert_problem(&post(address, body), *status, part);
    }
    assert_eq!(get(address, "/orders/1").status, 404, "nothing of it was accepted");
    let fitting = format!("{sound}{}", " ".repeat(64 * 1024 - sound.len()));
    assert_eq!(post(address, fitting).status, 202);
}

#[test]
fn paths_ids_and_methods_that_are_not_there_are_problems_too() {
    let folder = Folder::new();
    let mut service = folder.start(&["--limit", "0", "--broker", "memory:"]);
    let address = service.address();
    for path in ["/", "/order", "/orders/", "/orders/1/2"] {
        assert_problem(&get(address, path), 404, "nothing at");
    }
    for id in ["1", "0", "-1", "x", "9223372036854775808", "%ff"] {
        assert_problem(&get(address, &format!("/orders/{id}")), 404, "no ");
    }
    for (method, path, allowed) in
        [("GET", "/orders", "POST"), ("PUT", "/orders", "POST"), ("DELETE", "/orders/1", "GET")]
    {
        let answer = send(address, method, path, b"");
        assert_problem(&answer, 405, method);
        let allow = answer.header("allow").unwrap_or_default();
        assert!(allow.contains(allowed), "{method} {path}: {answer:?}");
    }
}
