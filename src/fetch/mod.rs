//! Downloads by the controller: etcd, Patroni's wheels, Terraform; pinned, checked, cached.
