//! Fleet -> Health: ssh, etcd, Patroni and PostgreSQL, asked themselves.
