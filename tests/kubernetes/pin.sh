#!/bin/sh
# Rewrites go.mod and go.sum for one Kubernetes release: ./pin.sh v1.36.3
#
# k8s.io/kubernetes requires its own libraries at v0.0.0 and points them at folders that a module download does not
# carry; here each of them becomes a replacement by the published v0.MINOR.PATCH of the same release.
set -eu
release=${1:?usage: pin.sh vMAJOR.MINOR.PATCH}
libraries=v0.${release#v*.}
cd "$(dirname "$0")"

# Outside of this folder, so that a half-written go.mod cannot get in the way.
upstream=$(cd / && go mod download -json "k8s.io/kubernetes@$release" | jq -r .GoMod)
describe() { go mod edit -json "$upstream" | jq -r "$1"; }

rm -f go.mod go.sum
go mod init bulkhead.test/kubernetes
language=$(describe .Go)
# The main module's godebug line decides; a dependency's is ignored.
go mod edit -go="$language" -godebug="default=go${language%.*}" -require="k8s.io/kubernetes@$release" \
  -tool=k8s.io/kubernetes/test/images/agnhost -tool=github.com/onsi/ginkgo/v2/ginkgo
# etcd's server has to be the sibling of the client that Kubernetes was tested with.
go mod edit -require="go.etcd.io/etcd/server/v3@$(describe '.Require[] | select(.Path == "go.etcd.io/etcd/client/v3") | .Version')"
for library in $(describe '.Require[] | select(.Version == "v0.0.0") | .Path'); do
  go mod edit -replace="$library=$library@$libraries"
done
go mod tidy
