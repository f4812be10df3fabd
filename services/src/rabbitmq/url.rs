//! How clients are told where the broker is.

use super::config::Ports;

/// The AMQP URL of the default vhost, with the management interface as `?management=`.
pub(crate) fn amqp(ports: Ports) -> String {
    amqp_of_all(ports, &[])
}

/// One that names all members of a cluster, and the management interface of the first.
pub(crate) fn amqp_of_all(first: Ports, others: &[Ports]) -> String {
    let further = others.iter().map(|ports| format!(",127.0.0.1:{}", ports.amqp));
    format!(
        "amqp://guest:guest@127.0.0.1:{}{}/%2f?management={}",
        first.amqp,
        further.collect::<String>(),
        percent_encoded(&management(first))
    )
}

/// The same over TLS.
pub(crate) fn amqps(ports: Ports) -> String {
    format!(
        "amqps://guest:guest@127.0.0.1:{}/%2f?management={}",
        ports.amqps(),
        percent_encoded(&management(ports))
    )
}

pub(crate) fn management(ports: Ports) -> String {
    format!("http://guest:guest@127.0.0.1:{}", ports.management())
}

fn percent_encoded(text: &str) -> String {
    let encoded = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~') => c.to_string(),
        // Of ASCII alone, as everything in these URLs is.
        c => format!("%{:02X}", u32::from(c)),
    };
    text.chars().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_management_interface_percent_encoded() {
        let ports = Ports { amqp: 20_000 };
        let management = "http%3A%2F%2Fguest%3Aguest%40127.0.0.1%3A20002";
        let url = format!("amqp://guest:guest@127.0.0.1:20000/%2f?management={management}");
        assert_eq!(amqp(ports), url);
        let all = url.replace(":20000/", ":20000,127.0.0.1:20010/");
        assert_eq!(amqp_of_all(ports, &[Ports { amqp: 20_010 }]), all);
        assert_eq!(amqps(ports), url.replace("amqp:", "amqps:").replace("20000", "20003"));
    }
}
