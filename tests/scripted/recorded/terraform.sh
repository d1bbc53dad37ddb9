#!/bin/sh
# Records in `terraform/` the output of the real Terraform for the module in `infra/`. The fake one plays it.
# A test replaces the addresses, the ports and the texts @record@ and @before@ with its own.
set -eu
cd "$(dirname "$0")"
to=$PWD/terraform
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp infra/main.tf "$work"
cd "$work"
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1
unset TF_CLI_CONFIG_FILE
cat >machines.auto.tfvars.json <<'END'
{"machines": {
  "one": {"ipv4": "127.77.0.1", "ssh_port": 60001},
  "two": {"ipv4": "127.77.0.2", "ssh_port": 60002},
  "three": {"ipv4": "127.77.0.3", "ssh_port": 60003}
}}
END

# planned NAME ARGUMENT...: makes a plan and records it with the output of `show`.
planned() {
  name=$1
  shift
  terraform plan -json -input=false -parallelism=1 -out=plan "$@" >"$to/plan-$name.jsonl"
  terraform show -json -no-color plan >"$to/show-$name.json"
}
applied() { terraform apply -json -input=false -parallelism=1 plan >"$to/apply-$1.jsonl"; }

terraform version -json >"$to/version.json"
terraform init -input=false -no-color >"$to/init.txt"
terraform output -json -no-color >"$to/output-none.json"

planned broken -var quota=spent -var record=@record@
applied failed || true
terraform output -json -no-color >"$to/output-rest.json"
planned rest -var record=@record@
applied rest
rm terraform.tfstate*

planned slow -var formats_for=60 -var record=@record@
terraform apply -json -input=false -parallelism=1 plan >"$to/apply-interrupted.jsonl" &
until grep -q 'terraform_data.volume: Provisioning' "$to/apply-interrupted.jsonl"; do sleep 0.1; done
kill -INT $!
wait $! || true
rm terraform.tfstate* "$to"/*-slow.json* "$to"/*-broken.json*

planned create -var record=@record@
applied create
terraform output -json -no-color >"$to/output.json"
planned none -var record=@record@
sed -i s/127.77.0.2/127.77.0.9/ machines.auto.tfvars.json
planned replace -var record=@record@
sed -i s/127.77.0.9/127.77.0.2/ machines.auto.tfvars.json
planned before -var record=@before@
terraform apply -json -input=false plan >/dev/null
rm "$to"/*-before.json*
planned record -var record=@record@
applied record
planned destroy -destroy -var record=@record@
applied destroy
planned gone -destroy -var record=@record@
