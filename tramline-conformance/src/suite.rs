//! The table of scenarios: one line makes one test in every driver.

/// Makes a test of each scenario for transports; the argument is a
/// [`TransportHarness`](crate::TransportHarness).
#[macro_export]
macro_rules! transport_suite {
    ($harness:expr $(,)?) => {
        $crate::tests! { $harness =>
            transport::delivery::{
                a_message_is_delivered_as_it_was_sent,
                messages_are_delivered_in_the_order_in_which_they_were_sent,
                competing_consumers_share_a_queue,
                an_idle_consumer_is_woken_by_another_handle,
                every_field_of_an_envelope_arrives,
                a_message_with_nothing_but_a_body_arrives,
                headers_keep_their_types,
                an_empty_body_arrives,
                a_large_body_arrives,
                a_body_over_the_bound_is_refused,
                headers_over_the_bound_are_refused,
            }
            transport::settling::{
                an_acked_message_is_gone,
                a_returned_message_comes_back_at_once_and_uncharged,
                a_dropped_delivery_comes_back,
            }
        }
    };
}

/// Makes a test of each scenario for stores; the argument is a
/// [`StoreHarness`](crate::StoreHarness).
#[macro_export]
macro_rules! store_suite {
    ($harness:expr $(,)?) => {
        $crate::tests! { $harness => }
    };
}

/// A test for each scenario of a table, on a runtime of two threads.
#[doc(hidden)]
#[macro_export]
macro_rules! tests {
    ($harness:expr => $($contract:ident::$topic:ident::{$($scenario:ident),* $(,)?})*) => {
        $($(
            #[test]
            fn $scenario() {
                $crate::run(async { $crate::$contract::$topic::$scenario($harness).await });
            }
        )*)*
    };
}
