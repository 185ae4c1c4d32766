import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ordinate.analyze.circuit_codes import softmax_over
from ordinate.analyze.circuit_evaluation import area, evaluate_circuit, faithfulness, random_order_area
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import mean_values
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.ground.errors import InputError
from ordinate.models.planted_induction import planted_induction


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=12).filter(
        lambda rows: len({known for _, known in rows}) == 2
    )
)
def test_the_area_is_sklearn_s_the_curve_s_and_the_softmax_s(rows: list[tuple[int, bool]]) -> None:
    scores = torch.tensor([[float(score) for score, _ in rows]])
    truth = torch.tensor([[float(known) for _, known in rows]])
    found = evaluate_circuit(scores, truth)
    assert found.auc == pytest.approx(roc_auc_score(truth[0].numpy(), scores[0].numpy()))
    assert float(torch.trapezoid(torch.tensor(found.tpr), torch.tensor(found.fpr))) == pytest.approx(found.auc)
    assert evaluate_circuit(softmax_over(scores), truth).auc == pytest.approx(found.auc)
    assert 0 <= found.balance <= 1 and 0 < found.f1 <= 1


def test_a_perfect_ranking_is_one_everywhere() -> None:
    found = evaluate_circuit(torch.tensor([[3.0, 1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert (found.auc, found.balance, found.f1) == (1, 1, 1)


def test_truths_that_tell_nothing_are_refused() -> None:
    for truth, words in (
        (torch.ones(2, 2), "all are inside"),
        (torch.zeros(2, 2), "none are inside"),
        (torch.ones(1, 2), r"shape \(1, 2\)"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate_circuit(torch.zeros(2, 2), truth)
    with pytest.raises(InputError, match="finite"):
        evaluate_circuit(torch.tensor([[torch.nan, 1.0]]), torch.tensor([[1.0, 0.0]]))


def test_the_circuit_alone_is_faithful_and_without_it_nothing_is_left() -> None:
    planted, contrast = planted_induction(0), repeated_tokens(30)
    headed = HeadedModel(planted.model)
    values = mean_values(headed, contrast.positives.followed_by(contrast.negatives))
    truth = headed.grid(planted.truth)
    curve, without = faithfulness(headed, truth, contrast, values), faithfulness(headed, truth, contrast, values, complete=True)
    assert len(curve) == 13 and float(curve[0]) < 0.3 and float(curve[2]) > 0.9 and float(curve[-1]) > 0.9
    assert float(without[0]) == float(curve[-1]) and float(without[2]) < 0.3 and float(without[-1]) == float(curve[0])
    assert area(curve) > random_order_area(headed, contrast, values, orders=3) > area(faithfulness(headed, -truth, contrast, values))
    nats = faithfulness(headed, truth, contrast, values, accuracy=False)
    assert float(nats[2]) > float(nats[0])
    with pytest.raises(InputError, match="a score for every node"):
        faithfulness(headed, truth[:2], contrast, values)


def test_the_area_of_a_line() -> None:
    assert area(torch.tensor([0.0, 0.5, 1.0])) == pytest.approx(0.5)
