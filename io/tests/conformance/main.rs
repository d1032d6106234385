//! What every disk does: one suite for all backends and decorators.

mod cases;
mod lock;
mod stores;

use stores::Store;

/// One module for each store, with one test for each case.
macro_rules! suites {
    ($($store:ident: $cases:tt,)*) => {
        $(suites! { @store $store $cases })*
    };
    (@store $store:ident [$($case:ident)*]) => {
        mod $store {
            $(
                #[test]
                fn $case() {
                    if let Some(store) = super::Store::$store() {
                        super::cases::$case(&store);
                    }
                }
            )*
        }
    };
}

macro_rules! all {
    ($($store:ident)*) => {
        suites! {
            $($store: [
                what_is_written_is_read
                appends_land_one_behind_the_other
                queues_of_threads_do_not_mix
                a_dropped_queue_has_finished_and_gives_its_buffers_back
                a_full_queue_returns_the_request
                misuse_completes_with_the_reason_and_the_buffer
                a_read_beyond_the_end_tells_both_sizes
                names_are_made_found_and_removed
                names_that_are_paths_are_refused
                a_removed_file_lives_on_for_who_has_it_open
                files_come_and_go_while_a_queue_lives
                a_file_may_be_closed_with_operations_in_flight
                reserved_and_trimmed_space_reads_as_zeros
                a_second_lock_names_the_holder
                waiting_ends_with_the_timeout
                long_transfers_are_whole
            ],)*
        }
    };
}

all! { uring uring_unregistered uring_buffered uring_sqpoll uring_iopoll fallback blocking blocking_buffered sim metered delayed }
