// Package netpol is upstream's NetworkPolicy suite, without the other end-to-end tests of Kubernetes, which would
// treble the packages to compile. With -image it only names the image that the suite's pods run.
package netpol

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	"k8s.io/kubernetes/test/utils/image"

	_ "k8s.io/component-base/logs/testinit"             // the logging flags that the framework expects
	_ "k8s.io/kubernetes/test/e2e/framework/debug/init" // namespaces' events when a spec fails
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"  // waiting for nodes
	_ "k8s.io/kubernetes/test/e2e/network/netpol"       // the specs
)

func TestMain(m *testing.M) {
	flags := flag.CommandLine
	nameImage := flags.Bool("image", false, "print the name of the pods' image and exit")
	framework.RegisterCommonFlags(flags)
	framework.RegisterClusterFlags(flags)
	config.CopyFlags(config.Flags, flags)
	flag.Parse()
	if *nameImage {
		fmt.Println(image.GetE2EImage(image.Agnhost))
		return
	}
	framework.AfterReadingAllFlags(&framework.TestContext)
	os.Exit(m.Run())
}

func TestNetworkPolicy(t *testing.T) {
	gomega.RegisterFailHandler(framework.Fail)
	suite, reporter := framework.CreateGinkgoConfig()
	ginkgo.RunSpecs(t, "NetworkPolicy, as upstream reads it", suite, reporter)
}
