//! `rabbitmq-urls` on what libFuzzer comes up with.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tramline_fuzz::rabbitmq_urls::check(data));
