//! What the tests and the demo send through a pod while it moves. Standard library only, so that it
//! is one static binary that CRIU can dump wherever it runs.
//!
//! ```text
//! traffic serve PORT [HOST:PORT...]           answers over TCP and UDP, IPv4 and IPv6, also those it dials
//! traffic count HOST:PORT [OPTIONS]           asks over TCP, one question at a time, and checks each answer
//! traffic bulk up|down|both HOST:PORT [...]   streams, checked to the byte
//! traffic half HOST:PORT [OPTIONS]            closes its own direction and goes on reading
//! traffic mute HOST:PORT [OPTIONS]            has the server close its direction, and goes on sending
//! traffic knock HOST:PORT [OPTIONS]           asks once on each of ever more connections
//! traffic datagrams HOST:PORT [OPTIONS]       UDP
//!
//!   --connections N   this many at once (count; default 1)
//!   --every MS        pause between two questions (default 2)
//!   --answers N       ends after so many on each connection, else with SIGTERM or SIGINT
//!   --for SECONDS     ends then at the latest
//!   --record FILE     the time of each answer in microseconds since 1970, one a line
//!   --tell            a line on standard output each second
//! ```
//!
//! `accept:PORT` in the place of HOST:PORT: the client listens there, and a server dials.
//! A client says `connected` when it is, ends with one line of JSON, and exits 1 if anything was wrong: an answer out of order or
//! with another content, a reset, an ICMP error, the end of a connection that nobody had ended.

mod client;
mod datagrams;
mod options;
mod report;
mod server;
mod stream;
mod system;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve", port, dialed @ ..] => server::run(port, dialed).map(|()| true),
        ["count", to, more @ ..] => client::count(to, &Options::parse(more)),
        ["bulk", direction, to, more @ ..] => client::bulk(direction, to, &Options::parse(more)),
        ["half", to, more @ ..] => client::half(to, &Options::parse(more)),
        ["mute", to, more @ ..] => client::mute(to, &Options::parse(more)),
        ["knock", to, more @ ..] => client::knock(to, &Options::parse(more)),
        ["datagrams", to, more @ ..] => datagrams::run(to, &Options::parse(more)),
        _ => {
            eprintln!(
                "usage: traffic serve PORT [HOST:PORT...] | count|half|mute|knock|datagrams HOST:PORT \
                 | bulk up|down|both HOST:PORT"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("traffic: {error}");
            ExitCode::from(2)
        }
    }
}
